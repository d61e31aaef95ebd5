// Package env is what the packages' Config types have in common: reading them
// from environment variables, reporting everything that is wrong with them at
// once, and printing them without their secrets.
//
// A Config is a struct of plain fields. Each field that has a variable names it
// in its tag, and a field that holds a secret says so:
//
//	type Config struct {
//		MaxConns int32         `envconfig:"DB_POOL_MAX"`
//		Timeout  time.Duration `envconfig:"DB_QUERY_TIMEOUT"`
//		Password string        `envconfig:"REDIS_PASSWORD" secret:"true"`
//		URL      string        `envconfig:"DATABASE_URL" secret:"url"`
//	}
//
// The tags are the only place where the names stand: the tables of the
// documentation are checked against them.
package env
