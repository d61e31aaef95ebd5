// Package session keeps users logged in: sessions for any net/http stack, in
// Redis behind gorilla/sessions' redisstore, with no lost write, no lost user,
// and nothing in Redis that is worth stealing.
//
//	cfg, err := session.ConfigFromEnv()
//	sessions, err := session.New(redisClient, cfg) // nil: in memory only
//	err = sessions.Start(ctx)
//	defer sessions.Stop(ctx)
//	handler := session.Middleware(sessions)(http.NewCrossOriginProtection().Handler(mux))
//
//	// in a handler, before the response begins
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
// the server. The client is lent and never closed. A session is loaded when it
// is first used, and saved once, before the first byte of the response: log in
// and set values before you write. A request that does not use its session
// costs no command and sets no cookie; one that reads it costs one; one that
// changes it, two. Logging out is the exception: it happens in the call.
//
// http.CrossOriginProtection stands between the two in the example above, and
// refuses requests that other sites forge. SameSite alone does not do that for
// sibling domains.
//
// # The life of a session
//
// It is made by the first write, gets a new ID at each login and, for whoever is
// logged in and keeps using it, every [Config].RegenerateEvery; parallel requests
// agree on that ID, and the one before leads to the same session for
// [Config].RegenerateGrace. Before the login the ID stays: a response with a new
// one that arrived after the login's would log the user out. It ends by a
// logout, a revocation ([Manager.Revoke], [Manager.RevokeUser],
// [Manager.RevokeAll]), after [Config].IdleTimeout without use, or [Config].Lifetime after its login. The cookie holds an ID and
// a signature; all else is in Redis, under a hash of the ID, encrypted with a
// key of the ID and the secret. docs/asvs.md goes through OWASP's requirements.
//
// # Failure
//
// While Redis is away, from a quarter of a second after it went, the manager
// serves from memory: users whom this process has seen stay logged in, others
// can log in, and what is written is merged into Redis when it is back. A cookie
// that this process does not know is kept: [RequireAuthenticated] answers 503,
// and [Session.Err] returns [ErrUnavailable]. So it does with one that Redis does
// not know in the two seconds after, since the process that made it may notice
// the return later. Until Redis is back, other processes know nothing of what was
// done here: a load balancer that keeps users on one process hides that. See
// [Fallback] for other policies, and [Stats].FallbackSince for health checks.
//
// Sessions are data. Give them a Redis that writes to disk (appendonly yes) and
// does not evict (maxmemory-policy noeviction): what Redis loses by itself, by a
// crash without persistence, is not brought back.
//
// If a save fails all the same, the response is 503 and the handler's body is
// discarded.
//
// # Concurrency
//
// Requests of one session may run in parallel, in any number of processes. A
// save is a three-way merge by key: each request keeps its own changes, and of
// two changes of one key the later save stays; [Update] is for counters and
// lists. A session that was ended stays ended: a request that is still under way
// saves nothing in it, and never touches the cookie.
//
// # What the package does not do
//
// It checks no passwords, and decides nothing about who may do what. It shares
// no data between sessions. It is no cache: keep what is large, or what can be
// had again, elsewhere.
package session
