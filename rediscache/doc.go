// Package rediscache is a cache in Redis, with a cache in the process in front
// of it, for programs that must not notice when Redis is away.
//
//	cfg, err := rediscache.ConfigFromEnv()
//	cache, err := rediscache.New(cfg)
//	err = cache.Start(ctx)
//	defer cache.Stop(ctx)
//
//	users := rediscache.Of[User](cache, "user", rediscache.TTL(time.Hour), rediscache.Near(10_000))
//	user, err := users.Load(ctx, "42", func(ctx context.Context, id string) (User, error) {
//		return db.User(ctx, id) // runs once, however many ask
//	})
//	err = users.Del(ctx, "42") // after the user changed
//
// A [Cache] is the connection: to one server, to Sentinels or to a Cluster. It
// has ad hoc helpers for JSON values, [Cache.Set], [Cache.Get], [Cache.Del] and
// [Cache.ClearPattern]. What a program caches for good goes through a
// [Namespace], one for each kind of value, which [Of] makes.
//
// # Order
//
// [New] validates and does not talk to Redis; the client of [Cache.Redis] can
// be handed out at once. [Cache.Start] proves that Redis answers, and starts
// what listens for invalidations: before it, near caches are not used. Make
// namespaces before Start. Every New needs a [Cache.Stop].
//
// # Reading
//
// [Namespace.Get] looks in the near cache, if the namespace has one, and in
// Redis. [Namespace.Load] calls a loader for what is in neither:
//
//	                 fresh                      ┌── Exclusive: a lease, or wait
//	near ──▶ Redis ────────▶ value              │
//	           │ nothing     ┌─────────────┐    ▼    stored unless the key was
//	           ├───────────▶ │ one flight  │─ loader ─▶ changed or voided since
//	           │ stale       │  a key      │    │ fails or is slow
//	           └─ StaleFor ─▶│ background  │    └─────▶ stale value (StaleOnError,
//	              value      └─────────────┘            SoftTimeout)
//
// Calls share round trips by themselves: one caller goes alone, hundreds go
// together. [Namespace.GetMany] and [Namespace.LoadMany] say so explicitly.
//
// # Invalidation
//
// [Namespace.Del] puts a tombstone in the place of the value, so that a load
// that read the database before the change cannot store what it read after it.
// Call it when the change is committed:
//
//	pgpool.AfterCommit(ctx, func(ctx context.Context) { _ = users.Del(ctx, id) })
//
// [Namespace.DelTags] and [Namespace.Clear] void any number of values with one
// command: each value carries the versions of its namespace and tags, and is
// void when they no longer stand. [Cache.ClearPattern] deletes by pattern, and
// looks at every key to do so.
//
// # Coherence
//
// After a write returns, its process reads that value or a newer one. Other
// processes' near caches learn of it through the invalidation stream, which
// takes milliseconds. If the stream breaks, near caches are void at once and
// unused until it is back; if the network swallows it silently, that is noticed
// within a second, which is the bound of staleness. In a Cluster whose slots
// move to a master not heard of yet, the bound is the half second in which it
// is.
//
// # Failure
//
// While Redis is away (refusing, hanging, loading, or refusing our credentials)
// a gate refuses calls within a microsecond or two, with an error that wraps
// [ErrUnavailable]; one goroutine, not the callers, tries whether it is back,
// and notices within 100 ms, or half of [Config].Timeout where a round trip takes
// longer. No command takes longer than its context's deadline or Config.Timeout; a
// read may take two, for the value and for the versions of its tags, and a write
// with new tags one for each. A context that is cancelled ends the wait for a
// connection or a batch, not a command on the wire. In a Cluster each node has its
// own gate.
//
// Load goes on with the loader, still once a key at a time, and keeps results
// in the process for [DefaultOfflineTTL]. Get, Set and Del return
// ErrUnavailable. Keys whose write or delete failed, or may have, are
// remembered: this process does not read them, and they are deleted in Redis
// when it is back. Beyond 100,000 keys, whole namespaces are voided instead.
//
// What Redis holds but this package cannot decode is a miss and a count. A
// reply that is announced larger than [Config].MaxReplyBytes breaks the
// connection instead of exhausting memory. READONLY is retried on a fresh
// connection, which after a failover leads to the new master. OOM fails the
// write, voids the key, and leaves reading alone.
//
// # Concurrency
//
// Everything is safe for concurrent use. Values from a near cache are shared:
// treat what they point to as read-only. Loaders and callbacks may call the
// cache; a loader that loads its own key waits for itself until
// [LoadTimeout].
//
// Who is alone with a command looks for the reply for up to 50 µs before the
// goroutine sleeps, since to be woken takes longer than a server near by. Where
// replies take longer, it soon stops looking, and with TLS, with other commands
// under way or on one processor it does not.
//
// # Observing
//
// [Cache.Stats] and [Namespace.Stats] return plain structs; [Cache.State] and
// [WithStateObserver] tell about outages; [WithHook] attaches go-redis hooks,
// which see batches of calls as pipelines or MGET. go-redis itself logs through
// redis.SetLogger, which belongs to the program.
//
// # What the package does not do
//
// It does not lock: [Exclusive] saves work and does not protect anything. It
// does not copy values on their way out of the near cache. It stores nothing
// durably: whatever is in it may be gone at any time. Keys that begin with
// "pedro:" are its own.
package rediscache
