package lifecycle

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

// errSignalled is the cause with which a signal ends the start.
var errSignalled = errors.New("stopped by a signal")

// Run starts the group, waits until ctx is done, a signal arrives or a
// component ends by itself, and stops the group.
//
// Run returns nil if the group stopped cleanly because it was asked to, also
// when that was during the start. Otherwise it returns what failed, each a
// [ComponentError]: a start, a component that ended by itself, a stop; and
// [ErrForced] if a second signal cut the stop short.
func (g *Group) Run(ctx context.Context) error {
	signals, release := g.listen()
	defer release()
	stop := make(chan struct{}) // closed by the first signal
	over := make(chan struct{})
	starting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		g.watchSignals(ctx, signals, over, func() { close(stop); cancel(errSignalled) })
	}()
	defer func() {
		close(over)
		<-watching
	}()

	if interrupted, err := g.start(starting); interrupted != nil || err != nil {
		if errors.Is(interrupted, ErrStopped) { // somebody else called Stop, and has the outcome
			return errors.Join(interrupted, err)
		}
		return err
	}
	select {
	case <-ctx.Done():
	case <-stop:
	case <-g.failed: //nolint:errcheck // as all others, it is in g.failure
	case <-g.quit: // somebody else called Stop
	}
	stopErr := g.Stop(context.WithoutCancel(ctx))
	g.mu.Lock()
	defer g.mu.Unlock()
	return errors.Join(append(slices.Clone(g.failure), stopErr)...)
}

// listen registers for the signals and returns their channel, which is nil if
// the group was not told to listen, and the function that ends it.
func (g *Group) listen() (signals <-chan os.Signal, release func()) {
	if g.opts.signalSource != nil {
		return g.opts.signalSource, func() {}
	}
	if len(g.opts.signals) == 0 {
		return nil, func() {}
	}
	list := slices.Clone(g.opts.signals)
	if len(g.opts.reload) > 0 {
		list = append(list, syscall.SIGHUP)
	}
	c := make(chan os.Signal, 8)
	signal.Notify(c, list...) //nolint:forbidigo // only when the host asks with WithSignals, and released when Run returns
	return c, func() { signal.Stop(c) }
}

// watchSignals acts on signals until over is closed.
func (g *Group) watchSignals(ctx context.Context, signals <-chan os.Signal, over <-chan struct{}, stop func()) {
	hup := make(chan struct{}, 1)
	reloading := make(chan struct{})
	go func() {
		defer close(reloading)
		g.reloadLoop(ctx, hup, over)
	}()
	defer func() { <-reloading }()

	seen := 0
	for {
		select {
		case <-over:
			return
		case sig, ok := <-signals:
			if !ok { // the host closed its source: no more signals
				signals = nil
				continue
			}
			if sig == syscall.SIGHUP && (len(g.opts.reload) > 0 || g.opts.signalSource != nil) {
				select {
				case hup <- struct{}{}:
				default: // one is waiting already, and will see the latest state
				}
				continue
			}
			seen++
			switch seen {
			case 1:
				g.opts.logger.Info("signal received", "signal", sig.String(), "action", "stop")
				stop()
			case 2:
				g.opts.logger.Warn("signal received", "signal", sig.String(), "action", "force")
				g.forceStop()
			}
		}
	}
}

// reloadLoop calls the reload hooks, once for each value from hup.
func (g *Group) reloadLoop(ctx context.Context, hup, over <-chan struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-g.quit:
			cancel()
		case <-over:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		select {
		case <-over:
			return
		case <-hup:
		}
		select {
		case <-over:
			return
		case <-g.startDone: // one that comes during the start is served after it
		}
		if g.State() != StateRunning {
			continue
		}
		g.opts.systemd.reloading()
		dog := watch(ctx)
		for _, hook := range g.opts.reload {
			began := time.Now()
			unlimited := dog.limit(-1, nil)
			err := call(labels(g.id, "reload"), unlimited, hook)
			unlimited.release()
			if err != nil {
				g.opts.logger.LogAttrs(ctx, slog.LevelError, "reload failed", slog.Duration("duration", time.Since(began)), slog.Any("error", err), errorDetails(err))
				continue
			}
			g.opts.logger.Info("reloaded", "duration", time.Since(began))
		}
		dog.stop()
		g.opts.systemd.ready()
	}
}
