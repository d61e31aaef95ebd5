package pgpool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pedro-go/pedro/internal/busypoll"
)

// A node is one server that the pool talks to: the primary or a replica. It
// owns a pgxpool.Pool and knows each of its connections.
type node struct {
	pool    *Pool
	name    string // "primary", "replica 1"
	addr    string
	px      *pgxpool.Pool
	timeout time.Duration // of a statement, from the client's side; 0 is none

	callers     busypoll.Group // who wait for replies
	observer    *observer
	deallocates atomic.Bool // somebody removes prepared statements, see preparesCommit

	mode    atomic.Pointer[PoolMode] // auto until something was found
	probe   sync.Mutex               // one connection at a time finds the mode
	server  atomic.Pointer[server]   // what the first connection told
	warned  atomic.Bool              // about a session feature behind a transaction pooler
	primary bool
	replica replicaState

	conns struct {
		sync.Mutex

		set map[*wire]*pgconn.PgConn
	}
	epochs struct {
		sync.Mutex

		seen []string // one a crash, in order
	}
	lastConnectErr atomic.Pointer[error]

	latency, acquireWait window
	waiting              waitingRoom
	looking              atomic.Bool // see lookOut

	opened, peeked, cancelled, retried atomic.Int64
	slow, exhausted                    atomic.Int64
	errs                               errorCounters
	peak                               atomic.Int32 // connections in use
}

// server is what does not change while a server lives.
type server struct {
	version int // 150004
	xid     bool
	epoch   bool
}

// newNode prepares a node for a connection string. Nothing is dialed.
func newNode(p *Pool, name string, t *target) (*node, error) {
	n := &node{pool: p, name: name, primary: name == "primary", addr: hostPort(&t.config.ConnConfig.Config)}
	n.conns.set = make(map[*wire]*pgconn.PgConn)
	mode := t.mode
	if p.cfg.PoolMode != PoolModeAuto {
		mode = p.cfg.PoolMode
	}
	n.mode.Store(&mode)
	n.timeout = max(p.cfg.QueryTimeout, 0)

	cfg := t.config
	cfg.MaxConns, cfg.MinConns, cfg.MinIdleConns = p.cfg.MaxConns, p.cfg.MinConns, p.cfg.MinConns
	cfg.MaxConnIdleTime = p.cfg.IdleTimeout
	// pgx looks for idle connections once a minute, which would make 30 s of
	// idle time mean up to 90.
	cfg.HealthCheckPeriod = max(p.cfg.IdleTimeout/2, 100*time.Millisecond)
	cfg.MaxConnLifetime = max(p.cfg.MaxLifetime, 0)
	// pgx counts jitter in whole seconds.
	cfg.MaxConnLifetimeJitter = max(cfg.MaxConnLifetime/10, time.Second)
	cfg.PingTimeout = 2 * time.Second
	cfg.ConnConfig.ConnectTimeout = p.cfg.ConnectTimeout
	cfg.ConnConfig.DialFunc = n.dialer().DialContext
	n.observer = newObserver(n, p.opts.tracer)
	cfg.ConnConfig.Tracer = n.observer
	cfg.BeforeConnect = n.beforeConnect
	cfg.AfterConnect = n.afterConnect
	cfg.ShouldPing = n.shouldPing
	cfg.PrepareConn = n.prepareConn
	if cfg.ConnConfig.RuntimeParams["application_name"] == "" {
		cfg.ConnConfig.RuntimeParams["application_name"] = p.cfg.AppName
	}

	// pgxpool opens MinConns on its own goroutine as soon as it is made.
	// beforeConnect holds this first round back until Start.
	px, err := pgxpool.NewWithConfig(context.WithValue(context.Background(), firstRound{}, true), cfg)
	if err != nil {
		return nil, err
	}
	n.px = px
	return n, nil
}

type firstRound struct{}

var errNotStarted = errors.New("pgpool: not started")

// dialer detects half-open connections after about 30 s.
func (n *node) dialer() *net.Dialer {
	return &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
}

func (n *node) isTransactionMode() bool { return *n.mode.Load() == PoolModeTransaction }

// setMode notes what was found out about a pooler.
func (n *node) setMode(m PoolMode) {
	n.mode.Store(&m)
	n.pool.opts.logger.Info("pool mode found", "node", n.name, "pool_mode", string(m))
}

// beforeConnect is the hook of pgxpool; the tracer does not hear of its error.
func (n *node) beforeConnect(ctx context.Context, cfg *pgx.ConnConfig) error {
	if ctx.Value(firstRound{}) != nil {
		return errNotStarted
	}
	err := n.configure(ctx, cfg)
	if err != nil {
		n.connectFailed(err)
	}
	return err
}

// configure completes the settings of a new connection.
func (n *node) configure(ctx context.Context, cfg *pgx.ConnConfig) error {
	mode := *n.mode.Load()
	if mode == PoolModeDirect || mode == PoolModeAuto {
		for name, value := range n.settings() {
			if _, given := cfg.RuntimeParams[name]; !given {
				cfg.RuntimeParams[name] = value
			}
		}
	}
	if mode == PoolModeTransaction || cfg.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		cfg.DefaultQueryExecMode = mode.execMode()
	}
	if f := n.pool.opts.password; f != nil {
		if err := shielded("the function of WithPassword", func() (err error) {
			cfg.Password, err = f(ctx)
			return err
		}); err != nil {
			return fmt.Errorf("pgpool: password: %w", err)
		}
	}
	if f := n.pool.opts.beforeConn; f != nil {
		if err := shielded("the function of WithBeforeConnect", func() error { return f(ctx, cfg) }); err != nil {
			return err
		}
	}
	wrap := cfg.AfterNetConnect
	cfg.AfterNetConnect = func(ctx context.Context, cfg *pgconn.Config, conn net.Conn) (net.Conn, error) {
		if wrap != nil {
			var err error
			if conn, err = wrap(ctx, cfg, conn); err != nil {
				return conn, err
			}
		}
		return newWire(n, conn), nil
	}
	cfg.BuildContextWatcherHandler = newCanceler
	return nil
}

// settings are the session settings that the Config asks for.
func (n *node) settings() map[string]string {
	set := make(map[string]string, 2)
	if d := n.pool.cfg.StatementTimeout; d > 0 {
		set["statement_timeout"] = strconv.FormatInt(d.Milliseconds(), 10)
	}
	if d := n.pool.cfg.IdleInTxTimeout; d > 0 {
		set["idle_in_transaction_session_timeout"] = strconv.FormatInt(d.Milliseconds(), 10)
	}
	return set
}

// afterConnect is the hook of pgxpool; the tracer does not hear of its error. Only
// now it is known that a connection could be made.
func (n *node) afterConnect(ctx context.Context, conn *pgx.Conn) error {
	err := n.complete(ctx, conn)
	switch {
	case err == nil:
		n.lastConnectErr.Store(nil)
	case !errors.Is(err, errModeFound): // which the next one makes use of
		n.connectFailed(err)
	}
	return err
}

// complete completes a new connection.
func (n *node) complete(ctx context.Context, conn *pgx.Conn) error {
	w := wireOf(conn)
	if w == nil {
		return errors.New("pgpool: the connection was replaced by a hook")
	}
	w.ready = true
	if n.server.Load() == nil {
		if err := n.findServer(ctx, conn); err != nil {
			return err
		}
	}
	if *n.mode.Load() == PoolModeSession {
		for name, value := range n.settings() {
			if _, err := conn.PgConn().Exec(ctx, "set "+name+" = "+value).ReadAll(); err != nil {
				return err
			}
		}
	}
	if f := n.pool.opts.afterConn; f != nil {
		if err := shielded("the function of WithAfterConnect", func() error { return f(ctx, conn) }); err != nil {
			return err
		}
	}
	n.conns.Lock()
	n.conns.set[w] = conn.PgConn()
	n.conns.Unlock()
	n.pool.watch()
	return nil
}

// forget drops a closed connection from the books.
func (n *node) forget(w *wire) {
	n.conns.Lock()
	delete(n.conns.set, w)
	n.conns.Unlock()
}

// findServer asks the first connection what it is connected to.
func (n *node) findServer(ctx context.Context, conn *pgx.Conn) error {
	n.probe.Lock()
	defer n.probe.Unlock()
	if n.server.Load() != nil {
		return nil
	}
	var s server
	values, err := askOne(ctx, conn, "select pg_backend_pid(), current_setting('server_version_num')")
	if err != nil {
		return err
	}
	s.version, _ = strconv.Atoi(values[1])
	if *n.mode.Load() == PoolModeAuto {
		if values[0] != strconv.FormatUint(uint64(conn.PgConn().PID()), 10) {
			n.setMode(PoolModeTransaction)
			return errModeFound
		}
		direct := PoolModeDirect
		n.mode.Store(&direct)
	}
	if _, err := askOne(ctx, conn, "select "+epochSQL+", "+recoveredSQL); err == nil {
		s.xid, s.epoch = s.version >= 130000, true
	} else if !isServerReply(err) {
		return err
	}
	n.server.Store(&s)
	return nil
}

// askOne runs a query of ours that gives one row, in the simple protocol, which
// leaves nothing behind on the connection.
func askOne(ctx context.Context, conn *pgx.Conn, sql string) ([]string, error) {
	results, err := conn.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) == 0 || len(results[0].Rows) == 0 {
		return nil, errors.New("pgpool: no answer")
	}
	var values []string
	for _, v := range results[0].Rows[0] {
		values = append(values, string(v))
	}
	return values, nil
}

// notStandby refuses a server that announces itself as a standby (PostgreSQL
// 14 and later do).
func notStandby(_ context.Context, conn *pgconn.PgConn) error {
	if conn.ParameterStatus("in_hot_standby") == "on" {
		return pgconn.ErrStandbyConnection
	}
	return nil
}

// warnSessionOnly says once that a statement does not do behind a transaction
// pooler what it seems to do.
func (n *node) warnSessionOnly(sql string) {
	if n.warned.Load() {
		return
	}
	if what := sessionOnly(sql); what != "" && n.warned.CompareAndSwap(false, true) {
		n.pool.opts.logger.Warn("session feature behind a transaction pooler", "node", n.name, "feature", what,
			"advice", "it acts on a connection that others use too; use a direct or session connection for it")
	}
}
