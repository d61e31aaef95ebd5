package pgpool

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/stdlib"
)

// DB returns the pool's connections as a *sql.DB, for code and libraries that
// want one: goose, golang-migrate, sqlx, bun. Close it before Stop; that closes
// nothing of the pool.
//
// It is not what pgx's stdlib.OpenDBFromPool gives. database/sql sends a
// statement again when the driver calls the connection bad, and pgx does so
// for some statements that have run, so that a row is inserted twice. Here a
// connection is called bad only if nothing was sent. New connections are waited
// for as everywhere in Pool.
//
// Transactions of database/sql are not repeated and their lost commits not
// resolved, and they do not join those of a context.
func (p *Pool) DB() *sql.DB {
	db := sql.OpenDB(&sqlConnector{Connector: stdlib.GetPoolConnector(p.primary.px), node: p.primary})
	db.SetMaxIdleConns(0) // the pool keeps them
	return db
}

type sqlConnector struct {
	driver.Connector

	node *node
}

// Connect implements driver.Connector.
func (c *sqlConnector) Connect(ctx context.Context) (driver.Conn, error) {
	var conn driver.Conn
	err := c.node.acquireBy(ctx, func(ctx context.Context) (err error) {
		conn, err = c.Connector.Connect(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	std, ok := conn.(*stdlib.Conn)
	if !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("pgpool: unexpected driver connection %T", conn)
	}
	return &sqlConn{std}, nil
}

// A sqlConn is pgx's driver connection that knows what it has sent.
type sqlConn struct{ *stdConn }

// A stdConn leaves the name Conn to its method, by which sql.Conn.Raw finds the
// *pgx.Conn.
type stdConn = stdlib.Conn

var errMayHaveRun = errors.New("pgpool: the connection was lost, and the statement may have run")

// guard runs f, and takes back that the connection is bad if something was sent
// on it.
func (c *sqlConn) guard(f func() error) error {
	w := wireOf(c.Conn())
	runs := w.runs.Load()
	err := f()
	if errors.Is(err, driver.ErrBadConn) && w.runs.Load() != runs {
		return errMayHaveRun
	}
	return err
}

// ExecContext implements driver.ExecerContext.
func (c *sqlConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (res driver.Result, err error) {
	err = c.guard(func() error {
		res, err = c.stdConn.ExecContext(ctx, query, args)
		return err
	})
	return res, wireOf(c.Conn()).explain(ctx, err)
}

// QueryContext implements driver.QueryerContext.
func (c *sqlConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (rows driver.Rows, err error) {
	err = c.guard(func() error {
		rows, err = c.stdConn.QueryContext(ctx, query, args)
		return err
	})
	return rows, wireOf(c.Conn()).explain(ctx, err)
}

// PrepareContext implements driver.ConnPrepareContext.
func (c *sqlConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	s, err := c.stdConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	std, ok := s.(*stdlib.Stmt)
	if !ok {
		return s, nil
	}
	return &sqlStmt{Stmt: std, conn: c, query: query}, nil
}

// A sqlStmt runs its statement through the guard.
type sqlStmt struct {
	*stdlib.Stmt

	conn  *sqlConn
	query string
}

// ExecContext implements driver.StmtExecContext.
func (s *sqlStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.conn.ExecContext(ctx, s.query, args)
}

// QueryContext implements driver.StmtQueryContext.
func (s *sqlStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.conn.QueryContext(ctx, s.query, args)
}
