// Package devservices starts real PostgreSQL, Redis and PgBouncer servers for tests, demonstrations and development:
// private ones, on loopback, from the programs that are installed, gone when the program is.
//
//	pg, err := devservices.StartPostgres(ctx) // 0.2 s
//	if err != nil {
//		return err
//	}
//	defer pg.Close()
//	rd, err := devservices.StartRedis(ctx, devservices.WithAppendOnly()) // 20 ms
//	if err != nil {
//		return err
//	}
//	defer rd.Close()
//	serve(pg.URL(), rd.URL())
//
// Every server can be made to fail as real ones do: Kill (SIGKILL), Pause and Resume (SIGSTOP: connections stay open,
// nobody answers), Stop, and Restart on the same port with the same data. In tests, pgpooltest and rediscachetest wrap
// this package; on the command line, cmd/devservices does:
//
//	go run ./cmd/devservices postgres redis -- go run ./examples/quickstart
//
// # Order
//
// Start returns when the server answers. Stop and Kill keep port and data, Restart brings the server back with them, Close
// removes everything. Servers that depend on others, such as a replica or PgBouncer, are closed before them.
//
// # Failure
//
// A Start that fails leaves nothing behind, and its error ends with the last lines of the server's log. If the program
// is not installed, the error wraps [ErrNotInstalled] and names the command that installs it. Servers end with this
// process, however it ends: on Linux the kernel tells them, and everywhere a watchdog, a shell that waits for our end,
// ends them and removes their files. What a power cut leaves is swept by the next run.
//
// # Concurrency
//
// All functions and methods may be called from several goroutines, and any number of processes may start servers at the
// same time: ports are locked between processes and never those of an installed service.
//
// # Where things are
//
// Programs are looked for in the directories of DEVSERVICES_PATH, in PATH, and where distributions hide them. Data lives
// in memory (/dev/shm) if that has a gigabyte to spare, else in the temporary directory; DEVSERVICES_TMP names another.
// As root, servers run as the user postgres or nobody. PostgreSQL's first data directory is kept in the user's cache
// directory, because a copy is five times as fast as initdb.
//
// Where no program is installed but Docker or Podman runs, single Redis and PostgreSQL servers without TLS run in
// containers, of the images DEVSERVICES_REDIS_IMAGE (redis:7-alpine) and DEVSERVICES_POSTGRES_IMAGE (postgres:17-alpine).
// DEVSERVICES=container prefers them, to try other versions; DEVSERVICES=off behaves as if nothing were there.
//
// # What the package does not do
//
// It installs nothing (scripts/setup.sh does), does not manage the system's own services, and is no place for data: it
// trades durability for speed, and all of it is removed.
package devservices
