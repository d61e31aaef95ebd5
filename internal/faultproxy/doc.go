// Package faultproxy is a TCP proxy that misbehaves on demand: it stands between a client and a real server in tests and
// does what networks do.
//
//	proxy := faultproxy.Start(t, server.Addr(), faultproxy.Postgres())
//	pool := open(t, proxy.URL(server.URL()))
//	proxy.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
//		if m.Completes("COMMIT") {
//			return faultproxy.Cut // the commit stands, and the client does not hear of it
//		}
//		return faultproxy.Pass
//	})
//
// Faults of the whole network are set by methods (latency, bandwidth, refusal, reset, half-open, blackhole, cut after n
// bytes) and hold for open connections as well as new ones until [Proxy.Heal]. Faults at a point of the conversation are
// set by a hook, which sees each piece of data, or with [Postgres] or [Redis] each message of the protocol.
//
// # Order
//
// What has been let through arrives in order and unchanged unless a hook changes it. A fault that is set when the method
// returns holds for every byte not yet handed to the kernel. [Message] order is the order of the stream in one direction
// of one connection; nothing is promised between directions.
//
// # Failure
//
// If the server cannot be reached, the client is cut (reset). A stream that is not the announced protocol, for instance
// because it has switched to TLS, is passed on in pieces, without message fields.
//
// # Concurrency
//
// All methods may be called at any time from several goroutines. Hooks are called from one goroutine for each direction of
// each connection, so a hook that keeps state needs a lock, and one that sleeps delays that direction only.
//
// # What the package does not do
//
// It drops no packets: TCP would send them again, and what an application sees of loss is delay. A blackhole accepts
// connections, since the kernel does, and then says nothing.
package faultproxy
