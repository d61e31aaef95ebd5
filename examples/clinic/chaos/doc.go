// Package chaos runs two instances of the clinic under a load of clients while
// everything around them fails, and holds what the clients were told against
// what is there afterwards.
//
//	go test -race ./examples/clinic/chaos                    60 seconds
//	make chaos DURATION=30m SEED=7                           as long as you like
//
// The schedule of the faults comes from the seed, which a failing run prints,
// so that it can be run again.
package chaos
