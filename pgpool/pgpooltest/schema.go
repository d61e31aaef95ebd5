package pgpooltest

import (
	"context"
	"errors"
	"sync"

	"github.com/jackc/pgx/v5"
)

// Option changes what [Start] returns.
type Option func(*options)

type options struct {
	schema string
	create func(context.Context, *pgx.Conn) error
}

// WithSchema makes the fresh database a copy of one that create has filled, with tables and whatever tests start from.
// The name stands for the schema: create runs once for it in a test binary, however many tests ask, and the copy takes
// about as long as an empty database. create must not keep the connection.
func WithSchema(name string, create func(ctx context.Context, conn *pgx.Conn) error) Option {
	return func(o *options) { o.schema, o.create = name, create }
}

// schema is a template database that is made once.
type schema struct {
	once     sync.Once
	database string
	err      error
}

// template returns the database to copy for a schema, made by the first who asks.
func (h *host) template(ctx context.Context, o options) (string, error) {
	name := h.newName()
	h.mu.Lock()
	s := h.schemas[o.schema]
	if s == nil {
		s = &schema{database: name}
		h.schemas[o.schema] = s
	}
	h.mu.Unlock()
	s.once.Do(func() {
		s.err = h.fill(ctx, s.database, o.create)
	})
	return s.database, s.err
}

func (h *host) fill(ctx context.Context, database string, create func(context.Context, *pgx.Conn) error) error {
	if err := h.exec(ctx, "CREATE DATABASE "+quote(database)+" TEMPLATE template0"); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, h.urlOf(database))
	if err != nil {
		return err
	}
	// Nobody can be connected to a database while it is copied, so the connection ends here.
	return errors.Join(create(ctx, conn), conn.Close(ctx))
}

// dropSchemas removes the template databases from a server that lives on.
func (h *host) dropSchemas() error {
	ctx, cancel := context.WithTimeout(context.Background(), dropTimeout)
	defer cancel()
	h.mu.Lock()
	defer h.mu.Unlock()
	var err error
	for _, s := range h.schemas {
		err = errors.Join(err, h.exec(ctx, "DROP DATABASE IF EXISTS "+quote(s.database)+" WITH (FORCE)"))
	}
	return err
}
