package main

import (
	"context"
	"fmt"

	"github.com/pedro-go/pedro/pgpool"
)

// room is how many connections a server, a database and a role allow; -1 means
// any number.
type room struct {
	Max, Reserved int64 // of the server; what it keeps for superusers and others
	Role, Base    int64 // the limits of the role and of the database
	Others        int64 // connections of other applications, now
}

const askRoom = `select current_setting('max_connections')::int8 as max,
	current_setting('superuser_reserved_connections')::int8 + coalesce(current_setting('reserved_connections', true), '0')::int8 as reserved,
	(select rolconnlimit::int8 from pg_roles where rolname = current_user) as role,
	(select datconnlimit::int8 from pg_database where datname = current_database()) as base,
	(select count(*) from pg_stat_activity where backend_type = 'client backend' and application_name <> current_setting('application_name')) as others`

// connections compares what all instances may open with what the server has.
func (d *database) connections(ctx context.Context) error {
	s := d.pool.Stats()
	each := int64(s.MaxConns)
	if mode := s.PoolMode; mode == pgpool.PoolModeTransaction || mode == pgpool.PoolModeSession {
		d.ok("connections", "DB_POOL_MAX %d × %s = %d to the pooler, whose own limit (max_client_conn) counts", each, plural(int(d.instances), "instance"), each*d.instances)
		return nil
	}
	free, err := pgpool.Get[room](ctx, d.pool, askRoom)
	if err != nil {
		return err
	}
	usable := free.Max - free.Reserved
	whose := "of the server's max_connections"
	if free.Role >= 0 && free.Role < usable {
		usable, whose = free.Role, "of the role's connection limit"
	}
	if free.Base >= 0 && free.Base < usable {
		usable, whose = free.Base, "of the database's connection limit"
	}
	need := each * d.instances
	found := fmt.Sprintf("DB_POOL_MAX %d × %s = %d, %s of the %d usable %s; others hold %d now",
		each, plural(int(d.instances), "instance"), need, percent(need, usable), usable, whose, free.Others)
	switch lower := (usable - free.Others) / (d.instances + 1); {
	case need > usable:
		d.problem("connections", found, fmt.Sprintf("lower DB_POOL_MAX to %d, which leaves room for one instance more during a restart; or put PgBouncer in between", max(lower, 1)), "DB_POOL_MAX")
	case need+each > usable-free.Others:
		d.note("connections", found, fmt.Sprintf("a rolling restart has one instance more, for which there is no room: lower DB_POOL_MAX to %d", max(lower, 1)), "DB_POOL_MAX")
	default:
		d.ok("connections", "%s", found)
	}
	return nil
}
