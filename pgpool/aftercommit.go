package pgpool

import "context"

// AfterCommit has f run after the transaction that ctx carries is known to
// stand: to drop cached values, send a message, wake a worker. f runs exactly
// once, however often the transaction had to be repeated, and not at all if it
// does not stand or the savepoint it was given in is rolled back. Functions run
// in the order of their AfterCommit, on the goroutine of the outermost
// Transaction and before that returns, with a context that has the values of
// its context and does not end with it; the connection has been given back by
// then. If one panics, the others still run.
//
// Outside of a transaction f runs at once. A nil f is nothing to run.
//
// Between COMMIT and f the process may die: what must survive that has to be
// written into the database, in the transaction.
func AfterCommit(ctx context.Context, f func(context.Context)) {
	if f == nil {
		return
	}
	t, _ := ctx.Value(anyTxKey{}).(*tx)
	if t == nil || t.done.Load() {
		f(context.WithoutCancel(ctx))
		return
	}
	t.hooksMu.Lock()
	defer t.hooksMu.Unlock()
	t.hooks = append(t.hooks, f)
}

func (t *tx) runHooks(ctx context.Context) {
	t.hooksMu.Lock()
	hooks := t.hooks
	t.hooks = nil
	t.hooksMu.Unlock()
	if len(hooks) > 0 {
		runInOrder(context.WithoutCancel(ctx), hooks)
	}
}

func runInOrder(ctx context.Context, hooks []func(context.Context)) {
	if len(hooks) == 0 {
		return
	}
	defer runInOrder(ctx, hooks[1:]) // also if this one panics
	hooks[0](ctx)
}
