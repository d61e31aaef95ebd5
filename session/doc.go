// Package session keeps users logged in: sessions for any net/http stack, in
// Redis behind gorilla/sessions' redisstore, with no lost write, no lost user,
// and nothing in Redis that is worth stealing.
//
//	cfg, err := session.ConfigFromEnv()
//	sessions, err := session.New(redisClient, cfg) // nil: in memory only
//	err = sessions.Start(ctx)
//	defer sessions.Stop(ctx)
//	handler := session.Middleware(sessions)(mux)
//
//	// in a handler
//	err := session.SetAuthenticated(r.Context(), userID, map[string]any{"role": "nurse"})
//	session.IsAuthenticated(r.Context())
//	err := session.ClearAuthentication(r.Context())
//	s := session.From(r.Context())
//	cart, ok := session.Get[Cart](s, "cart")
//	err := session.Set(s, "cart", cart)
//
// # Order
//
// Start the manager after its Redis client and before the server; stop it after
// the server. It lends the client and never closes it. A session is loaded when
// it is first used, and saved once, before the first byte of the response: set
// values and log in before you write. A request that does not use its session
// costs no command and sets no cookie.
//
// # Failure
//
// While Redis is away, from a quarter of a second after it went, the manager
// serves from memory: users whom this process has seen stay logged in, others
// can log in, and what is written is merged into Redis when it is back. A cookie
// that this process does not know is kept: [RequireAuthenticated] answers 503,
// and [Session.Err] returns [ErrUnavailable]. See [Fallback] for other policies.
//
// # Concurrency
//
// Requests of one session may run in parallel, in any number of processes. A
// save is a three-way merge by key: each request keeps its own changes, and of
// two changes of one key the later stays; [Update] is for counters and lists. A
// session that was ended stays ended: a request that is still under way saves
// nothing, and never touches the cookie.
package session
