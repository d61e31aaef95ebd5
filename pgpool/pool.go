package pgpool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pedro-go/pedro/internal/backoff"
	"github.com/pedro-go/pedro/internal/env"
)

// A Pool is a pool of connections to one PostgreSQL database and its replicas.
// All methods are safe for concurrent use.
type Pool struct {
	cfg  Config
	opts options

	primary  *node
	replicas []*node
	dog      watchdog
	tx       txCounters

	fallbacks atomic.Int64

	life    sync.Mutex // Start and Stop
	started bool
	stopped chan struct{} // closed when all connections are
	quit    context.CancelFunc
	tasks   sync.WaitGroup

	surveyed atomic.Pointer[survey]
}

var _ Querier = (*Pool)(nil)

// New makes a pool. It checks the whole Config and reports every problem at
// once, in an error that wraps ErrInvalidConfig and shows no secret. It does
// not talk to the server: Start does, or the first query.
//
// Every pool needs a Stop, also one that was never started.
func New(cfg Config, opts ...Option) (*Pool, error) {
	var problems env.Problems
	p := &Pool{opts: applyOptions(opts)}
	p.dog.quit, p.dog.done = make(chan struct{}), make(chan struct{})
	p.cfg = cfg.withDefaults()
	p.cfg.validate(&problems)

	url, name := p.cfg.URL, "DATABASE_URL"
	switch {
	case url != "":
	case p.cfg.SupabaseURL != "":
		url, name = p.cfg.supabaseURL(&problems), "SUPABASE_URL"
	default:
		problems.Add(name, "missing; set it to postgres://user:password@host:5432/database, or set SUPABASE_URL and SUPABASE_DB_PASSWORD")
	}
	var primary *target
	if url != "" {
		primary = parseInto(&problems, name, url)
	}
	var replicas []*target
	for _, url := range p.cfg.ReplicaURLs {
		replicas = append(replicas, parseInto(&problems, "DB_REPLICA_URLS", url))
	}
	if err := problems.Err(ErrInvalidConfig); err != nil {
		return nil, err
	}
	if err := p.connect(primary, replicas); err != nil {
		return nil, err
	}
	return p, nil
}

func parseInto(problems *env.Problems, name, url string) *target {
	t, err := parseTarget(url)
	if err != nil {
		problems.Add(name, "%v", err)
	}
	return t
}

func (p *Pool) connect(primary *target, replicas []*target) (err error) {
	for _, t := range append([]*target{primary}, replicas...) {
		for _, text := range t.warns {
			p.opts.logger.Warn("connection string", "warning", text)
		}
	}
	if p.primary, err = newNode(p, "primary", primary); err != nil {
		return err
	}
	for i, t := range replicas {
		r, err := newNode(p, fmt.Sprintf("replica %d", i+1), t)
		if err != nil {
			for _, n := range p.nodes() {
				n.px.Close()
			}
			return err
		}
		p.replicas = append(p.replicas, r)
	}
	return nil
}

func (p *Pool) nodes() []*node { return append([]*node{p.primary}, p.replicas...) }

// Start waits until the primary answers, trying again with growing pauses
// until ctx is done, and opens the first MinConns connections. It fails at once
// if trying again is pointless: a wrong password, a database that does not
// exist. Replicas are not waited for. ctx bounds the call only.
func (p *Pool) Start(ctx context.Context) error {
	p.life.Lock()
	if p.stopped != nil {
		p.life.Unlock()
		return fmt.Errorf("pgpool: start: %w", ErrClosed)
	}
	p.life.Unlock()
	between := backoff.Policy{Min: 50 * time.Millisecond, Max: 2 * time.Second}
	for attempt := 0; ; attempt++ {
		err := p.primary.ping(ctx)
		if err == nil {
			break
		}
		if errors.Is(err, ErrClosed) || isPermanent(err) || ctx.Err() != nil {
			return fmt.Errorf("pgpool: start: %w", err)
		}
		p.opts.logger.WarnContext(ctx, "database does not answer, trying again", "attempt", attempt+1, "error", err)
		if between.Wait(ctx, attempt) != nil {
			return fmt.Errorf("pgpool: start: %w", err)
		}
	}
	p.primary.warm(ctx)
	p.survey(ctx)
	p.life.Lock()
	defer p.life.Unlock()
	if p.started || p.stopped != nil {
		return nil
	}
	p.started = true
	background, quit := context.WithCancel(context.Background())
	p.quit = quit
	p.startReplicas(background)
	p.startSurveys(background)
	version := 0 // unknown, if the server answered aside from the pool
	if s := p.primary.server.Load(); s != nil {
		version = s.version
	}
	p.opts.logger.InfoContext(ctx, "database connected", "addr", p.primary.addr, "pool_mode", string(*p.primary.mode.Load()),
		"server_version", version, "max_conns", p.cfg.MaxConns, "replicas", len(p.replicas))
	return nil
}

// warm opens MinConns connections, if it can.
func (n *node) warm(ctx context.Context) {
	var wg sync.WaitGroup
	conns := make([]*pgxpool.Conn, n.pool.cfg.MinConns)
	for i := range conns {
		wg.Go(func() { conns[i], _ = n.acquire(ctx) }) // the first caller who needs it will see the error
	}
	wg.Wait()
	for _, conn := range conns {
		if conn != nil {
			conn.Release()
		}
	}
}

// Ping reports whether the primary answers. It uses a connection of its own
// when all of the pool's are in use, so that a busy pool is not taken for a
// broken server.
func (p *Pool) Ping(ctx context.Context) error { return p.primary.ping(ctx) }

func (n *node) ping(ctx context.Context) error {
	// Those that are being made count: while the server is slow to take them, all
	// places may be taken by none that works yet.
	if s := n.px.Stat(); s.TotalConns()-s.IdleConns() >= n.pool.cfg.MaxConns {
		return n.pingAside(ctx)
	}
	conn, err := n.acquire(ctx)
	if err != nil {
		return fmt.Errorf("pgpool: ping: %w", err)
	}
	defer conn.Release()
	if err := conn.Conn().Ping(ctx); err != nil {
		return fmt.Errorf("pgpool: ping: %s: %w", n.name, wireOf(conn.Conn()).explain(ctx, err))
	}
	return nil
}

// pingAside asks the server on a connection of its own.
func (n *node) pingAside(ctx context.Context) error {
	cfg := n.px.Config().ConnConfig
	if err := n.beforeConnect(ctx, cfg); err != nil {
		return fmt.Errorf("pgpool: ping: %w", err)
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("pgpool: ping: %w", n.describeConnect(err))
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := conn.Ping(ctx); err != nil {
		return fmt.Errorf("pgpool: ping: %s: %w", n.name, err)
	}
	return nil
}

// Config returns the settings in effect, defaults filled in. Its URL is what
// was given.
func (p *Pool) Config() Config {
	cfg := p.cfg
	cfg.ReplicaURLs = slices.Clone(cfg.ReplicaURLs)
	return cfg
}

// Pgx returns the pgxpool.Pool of the primary, for libraries that want one. It
// is shared: do not close or reset it. It is usable from New until Stop. Its
// connections have everything that belongs to a connection (timeouts, tracing,
// statistics, cancelling, the right mode behind a pooler); the repetition of
// reads, ConnectTimeout while all connections are in use, and joining the
// transaction of a context belong to Pool.
func (p *Pool) Pgx() *pgxpool.Pool { return p.primary.px }

// Exec runs a statement. It is one transaction of its own, and never repeated
// if there is a chance that it ran: in the worst case its connection is lost
// and nobody knows. What must happen exactly once belongs into a Transaction.
//
// Like all methods of Querier, it joins the transaction that ctx carries, see
// Transaction.
func (p *Pool) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if t := txFrom(ctx, p); t != nil {
		return t.Exec(ctx, sql, args...)
	}
	return p.primary.exec(ctx, sql, args)
}

// Query runs a query and returns its rows, which hold a connection until they
// are closed. If the connection is lost before the first row arrived, the query
// is repeated as described at Select.
func (p *Pool) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if t := txFrom(ctx, p); t != nil {
		return t.Query(ctx, sql, args...)
	}
	return p.primary.query(ctx, sql, args)
}

// QueryRow is Query for one row. Its error comes from Scan: pgx.ErrNoRows if
// there is none; further rows are ignored.
func (p *Pool) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if t := txFrom(ctx, p); t != nil {
		return t.QueryRow(ctx, sql, args...)
	}
	rows, _ := p.primary.query(ctx, sql, args) // by Scan, as pgx.Row demands
	return poolRow{rows}
}

// SendBatch sends several statements in one round trip; outside of a
// transaction they are one. The results hold a connection until they are
// closed. It is never repeated. Batch.BeginTx is refused: use Transaction.
func (p *Pool) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if t := txFrom(ctx, p); t != nil {
		return t.SendBatch(ctx, b)
	}
	return p.primary.sendBatch(ctx, b)
}

// CopyFrom copies rows into a table, all or none. BatchInsert is more
// convenient and faster. It is not repeated. A panic of rows goes on to the caller,
// and their error is in the one that is returned.
func (p *Pool) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, rows pgx.CopyFromSource) (int64, error) {
	if t := txFrom(ctx, p); t != nil {
		return t.CopyFrom(ctx, table, columns, rows)
	}
	return p.primary.copyFrom(ctx, table, columns, rows)
}

func (p *Pool) read(ctx context.Context, sql string, args []any, into result) error {
	if t := txFrom(ctx, p); t != nil {
		return t.read(ctx, sql, args, into)
	}
	return p.primary.read(ctx, sql, args, into)
}
