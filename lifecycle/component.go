package lifecycle

import "context"

// A Component is a part of a host that is started and stopped with it.
// A [Group] is itself a Component, so groups nest. The contract below is
// checked by lifecycletest.Run.
type Component interface {
	// Start makes the component ready for use and then returns.
	//
	// ctx bounds the call to Start only. Work that goes on afterwards must not
	// use it: derive that work's context with [context.WithoutCancel]. Stop is
	// called after every Start, also after one that failed, so there is no need
	// to undo anything here.
	Start(ctx context.Context) error

	// Stop releases what the component holds and returns when its goroutines
	// have ended. When ctx is done first, Stop gives up waiting, releases what
	// it can and returns an error that wraps the context's.
	//
	// Stop tolerates a Start that failed, never ran or, having ignored its
	// context, still runs. A second Stop returns nil.
	Stop(ctx context.Context) error
}

// A Failer is a Component that can end by itself, such as a server whose
// listener breaks. The group begins to stop when the channel delivers.
type Failer interface {
	Component

	// Failed returns a channel that delivers the error with which the component
	// ended by itself, at most once. It is not closed by an ordinary Stop.
	Failed() <-chan error
}

// A Drainer is a Component that wants to know that the group is about to stop
// while everything still works: at the beginning of the drain delay.
type Drainer interface {
	Component

	// Drain begins the component's farewell. It must not block.
	Drain()
}

// Funcs adapts a pair of functions to a Component. Either may be nil, which
// means that there is nothing to do.
type Funcs struct {
	OnStart func(ctx context.Context) error
	OnStop  func(ctx context.Context) error
}

// Start calls f.OnStart.
func (f Funcs) Start(ctx context.Context) error {
	if f.OnStart == nil {
		return nil
	}
	return f.OnStart(ctx)
}

// Stop calls f.OnStop.
func (f Funcs) Stop(ctx context.Context) error {
	if f.OnStop == nil {
		return nil
	}
	return f.OnStop(ctx)
}
