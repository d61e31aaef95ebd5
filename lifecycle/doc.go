// Package lifecycle starts a host's components in order, drains them without
// losing a request, and stops them in the opposite order, in bounded time.
//
// A [Component] is anything with Start and Stop methods. The other packages of
// this module satisfy it without importing lifecycle, and so can your own
// types; [Funcs] adapts plain functions, [Group.Go] a background task and
// [Server] an http.Server.
//
//	g, err := lifecycle.New(lifecycle.Config{},
//		lifecycle.WithSignals(),
//		lifecycle.WithDrain(5*time.Second, checks.SetDraining))
//	if err != nil {
//		return err
//	}
//	g.Add("postgres", pool)
//	g.Add("redis", cache, lifecycle.After(), lifecycle.Optional())
//	g.Go("mailer", mailer.Run, lifecycle.After("redis"))
//	g.Add("http", lifecycle.Server(&http.Server{Addr: ":8080", Handler: mux}))
//	return g.Run(ctx)
//
// # Order
//
// A component starts when all components added before it have started. With
// [After] it waits for the named ones only, so that independent components
// start in parallel. Components stop in the opposite order: one stops when all
// that started after it, in the sense above, have stopped.
//
// # States
//
//	New ──Start──▶ Starting ──▶ Running ──Drain──▶ Draining ──▶ Stopping ──▶ Stopped
//	                  │                                            ▲
//	                  └── a Start failed, or Stop was called ──────┘
//
// A group runs once. [Group.Run] goes through all states; Start, Drain and Stop
// are the same steps for hosts that have a main loop of their own.
//
// # Failure
//
// If a Start fails, everything that was started is stopped, under a fresh
// context, and Start returns every error. If a Stop fails, panics or outlives
// its limit, the others are still stopped; the hanging one is left behind and
// its error carries the stacks of its own goroutines. A panic in Start, Stop or
// a task becomes an error of that component. Each error is a [ComponentError].
//
// # Draining
//
// A server that closes its doors at SIGTERM loses requests, since balancers
// learn late. [WithDrain] makes the group say "not ready" first and go on
// serving for a while; then [Server] closes its listener only and answers what
// still arrives on the connections that it has, until they are gone or quiet.
// [Draining] tells long-lived responses to end. See [WithKubernetes] for how
// the delay relates to the times of a cluster.
//
// # Concurrency
//
// Add and Go are called before Start, from one goroutine. All other methods are
// safe for concurrent use.
//
// # What the package does not do
//
// It never calls os.Exit and keeps no global state. It installs no signal
// handler unless [WithSignals] asks for it. It does not restart components:
// only a task can have a restart policy.
package lifecycle
