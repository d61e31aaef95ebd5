// Package pedro is the map of a library of infrastructure for Go services: five
// packages that do not know one another and meet in your main function.
//
//   - pgpool: a PostgreSQL pool, on pgx, that outlives the server's restarts and
//     never runs a write twice.
//   - rediscache: a cache in Redis with one in the process in front of it, on
//     go-redis, that shrugs off the loss of Redis.
//   - session: HTTP sessions, on gorilla/sessions, that lose no write and no
//     user.
//   - health: liveness, readiness and a page for people, that costs nothing.
//   - lifecycle: ordered start, drain without a lost request, bounded stop.
//
// Beside them, devservices runs real PostgreSQL and Redis servers for tests and
// development, and examples holds whole hosts: quickstart, the smallest, and
// clinic, the one to copy.
//
// The shape that all share: a Config of plain data whose zero value means the
// defaults; ConfigFromEnv, which reports everything that is wrong at once and
// never a value; New, which validates and does no I/O; Start, which proves that
// the server answers; Stop, which is bounded by its context; Stats, a struct.
//
// This package itself is empty.
package pedro
