// Package interop shows the libraries that services use beside pedro, working
// with it: sqlc, scany, goose, river, asynq, database/sql and gRPC. Each file
// has what a service would copy, and its test runs that on real servers.
package interop
