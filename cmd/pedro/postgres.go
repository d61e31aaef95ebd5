package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/pedro-go/pedro/pgpool"
)

// examinePostgres looks at what pgpool would meet.
func examinePostgres(ctx context.Context, r *report, o options, p *progress) {
	cfg, err := pgpool.ConfigFromEnv()
	if err != nil {
		r.refused(err)
		return
	}
	variable := "DATABASE_URL"
	switch {
	case isSet("DATABASE_URL"):
	case isSet("SUPABASE_URL"):
		variable = "SUPABASE_URL"
	default:
		r.note("settings", "no database is configured", "set DATABASE_URL if the service needs one", "DATABASE_URL")
		return
	}
	cfg.MinConns = -1 // none in stock: doctor is a guest
	pool, err := pgpool.New(cfg)
	if err != nil {
		r.refused(err)
		return
	}
	defer stopPool(pool)

	p.step("connecting to PostgreSQL")
	reach, cancel := reaching(ctx, o.timeout/3)
	err = pool.Start(reach)
	cancel()
	if err != nil {
		found, change := whyNot(err, variable)
		r.problem("connection", found, change, variable)
		return
	}
	d := &database{report: r, pool: pool, variable: variable, instances: int64(o.instances)}
	for _, step := range []struct {
		what string
		look func(context.Context) error
	}{
		{"version", d.version},
		{"encryption", d.encryption},
		{"pooler", d.pooler},
		{"connections", d.connections},
		{"statement timeout", d.statementTimeout},
		{"clock", d.clock},
		{"rights", d.rights},
		{"replicas", d.replicas},
	} {
		p.step("PostgreSQL: " + step.what)
		if err := step.look(ctx); err != nil {
			found, change := whyNot(err, variable)
			r.problem(step.what, "could not be looked at: "+found, change)
		}
	}
	r.advised(pool.Advice())
}

func stopPool(p *pgpool.Pool) {
	ctx, cancel := closing()
	defer cancel()
	_ = p.Stop(ctx) // whatever is left is cut off, which is what we want
}

// database is a PostgreSQL that answers.
type database struct {
	*report
	pool      *pgpool.Pool
	variable  string
	instances int64
}

func (d *database) version(ctx context.Context) error {
	type row struct {
		Number int64
		Name   string
	}
	const ask = "select current_setting('server_version_num')::int8 as number, current_setting('server_version') as name"
	if _, err := pgpool.Get[row](ctx, d.pool, ask); err != nil { // prepares it
		return err
	}
	began := time.Now()
	v, err := pgpool.Get[row](ctx, d.pool, ask)
	if err != nil {
		return err
	}
	took := time.Since(began).Round(10 * time.Microsecond)
	if v.Number < 130000 {
		d.problem("version", "PostgreSQL "+v.Name, "13 or later is supported: upgrade the server")
		return nil
	}
	d.ok("connection", "PostgreSQL %s answers in %v", v.Name, took)
	return nil
}

// encryption asks the server about the connection that there is. Behind a
// pooler it would tell of the pooler's, so there what was asked for counts.
func (d *database) encryption(ctx context.Context) error {
	c := d.pool.Pgx().Config().ConnConfig.TLSConfig
	encrypted, between := c != nil, d.pool.Stats().PoolMode != pgpool.PoolModeDirect
	if !between {
		var err error
		if encrypted, err = pgpool.Get[bool](ctx, d.pool, "select ssl from pg_stat_ssl where pid = pg_backend_pid()"); err != nil {
			return err
		}
	}
	switch {
	case encrypted && c != nil && c.InsecureSkipVerify && c.VerifyPeerCertificate == nil && c.VerifyConnection == nil:
		d.note("encryption", "TLS, but anybody could be the server: its certificate is not verified", "add sslmode=verify-full, and sslrootcert if it has an authority of its own", d.variable)
		return nil
	case encrypted:
		d.ok("encryption", "TLS")
		return nil
	}
	host, _, _ := net.SplitHostPort(d.pool.Stats().Addr)
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() || host != "" && host[0] == '/' {
		d.ok("encryption", "none, and none is needed: the server is on this machine")
		return nil
	}
	d.note("encryption", "none; the address looks like one of a private network", "add sslmode=verify-full unless you trust that network", d.variable)
	return nil
}

// pooler asks whether the process that announced itself is the one that works
// for us.
func (d *database) pooler(ctx context.Context) error {
	conn, err := d.pool.Pgx().Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	var pid uint32
	if err := conn.QueryRow(ctx, "select pg_backend_pid()").Scan(&pid); err != nil {
		return err
	}
	mode, between := d.pool.Stats().PoolMode, pid != conn.Conn().PgConn().PID()
	switch {
	case between && mode == pgpool.PoolModeDirect:
		d.problem("pooler", "there is one, and DB_POOL_MODE says that there is none: statements will fail or return wrong results", "remove DB_POOL_MODE, or set it to transaction", "DB_POOL_MODE")
	case between:
		d.ok("pooler", "one in between, used in %s mode", mode)
	case mode == pgpool.PoolModeTransaction:
		d.note("pooler", "none, but transaction mode is used, which prepares no statements", "remove DB_POOL_MODE, or set it to direct", "DB_POOL_MODE")
	default:
		d.ok("pooler", "none in between (%s mode)", mode)
	}
	return nil
}

// probeLimit is the statement timeout that is measured, in place of the
// configured one, which nobody wants to wait for.
const probeLimit = 300 * time.Millisecond

// statementTimeout runs a statement that is too long and looks how long it is
// let live.
func (d *database) statementTimeout(ctx context.Context) error {
	cfg := d.pool.Config()
	if cfg.StatementTimeout < 0 {
		d.note("statement timeout", "switched off: a statement may run, and hold its locks, for ever", "set DB_STATEMENT_TIMEOUT", "DB_STATEMENT_TIMEOUT")
		return nil
	}
	configured := cfg.StatementTimeout
	cfg.StatementTimeout, cfg.QueryTimeout, cfg.SlowQuery, cfg.MinConns, cfg.ReplicaURLs = probeLimit, -1, -1, -1, nil
	probe, err := pgpool.New(cfg)
	if err != nil {
		return err
	}
	defer stopPool(probe)
	if err := probe.Ping(ctx); err != nil { // the connection is not to be measured
		return err
	}
	began := time.Now()
	_, err = probe.Exec(ctx, "select pg_sleep(3)")
	took := time.Since(began)
	switch {
	case err == nil:
		d.problem("statement timeout", fmt.Sprintf("not honoured: a statement of %v outlived a limit of %v", took.Round(time.Millisecond), probeLimit),
			"look for a pooler or a role that overrides it (ALTER ROLE … SET statement_timeout)", "DB_STATEMENT_TIMEOUT")
	case errors.Is(err, pgpool.ErrQueryTimeout):
		d.ok("statement timeout", "%v, honoured: a limit of %v ended a statement after %v", configured, probeLimit, took.Round(time.Millisecond))
	default:
		return err
	}
	return nil
}

func (d *database) clock(ctx context.Context) error {
	before := time.Now()
	server, err := pgpool.Get[time.Time](ctx, d.pool, "select clock_timestamp()")
	if err != nil {
		return err
	}
	reportClock(d.report, before, server, time.Now())
	return nil
}

func (d *database) rights(ctx context.Context) error {
	super, err := pgpool.Get[bool](ctx, d.pool, "select rolsuper from pg_roles where rolname = current_user")
	if errors.Is(err, pgpool.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if super {
		d.note("rights", "the user is a superuser: row-level security does not hold for it, and an injection could do anything", "give the service a role of its own", d.variable)
		return nil
	}
	d.ok("rights", "the user is no superuser")
	return nil
}

// replicas gives the pool, which looks once a second, time to see them all.
func (d *database) replicas(ctx context.Context) error {
	n := len(d.pool.Config().ReplicaURLs)
	if n == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	healthy := func() (count int) {
		for _, replica := range d.pool.Stats().Replicas {
			if replica.Healthy {
				count++
			}
		}
		return count
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for healthy() < n && ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	for _, replica := range d.pool.Stats().Replicas {
		if replica.Healthy {
			d.ok(replica.Name, "at %s, %v behind", replica.Addr, replica.Lag.Round(time.Millisecond))
			continue
		}
		d.problem(replica.Name, "at "+replica.Addr+" is not used: it does not answer, or is too far behind",
			"look at the server, or raise DB_REPLICA_MAX_LAG", "DB_REPLICA_URLS", "DB_REPLICA_MAX_LAG")
	}
	return nil
}
