package devservices_test

import (
	"context"
	"fmt"
	"os"

	"github.com/pedro-go/pedro/devservices"
)

// A primary, its replica, and what a failover does.
func ExamplePostgres_StartReplica() {
	ctx := context.Background()
	primary, err := devservices.StartPostgres(ctx, devservices.WithPostgresConfig("max_connections", "20"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer primary.Close()
	replica, err := primary.StartReplica(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer replica.Close()
	fmt.Println(primary.InRecovery(), replica.InRecovery())
	fmt.Println(primary.Kill(), replica.Promote(ctx), replica.InRecovery())
	// Output:
	// false true
	// <nil> <nil> false
}

// PgBouncer in transaction mode, with five connections to the server.
func ExampleStartPgBouncer() {
	ctx := context.Background()
	server, err := devservices.StartPostgres(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	pooler, err := devservices.StartPgBouncer(ctx, server, devservices.WithPoolMode(devservices.TransactionMode), devservices.WithServerConns(5))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pooler.Close()
	fmt.Println(pooler.URL() != "", pooler.Restart(ctx)) // on the same port
	// Output: true <nil>
}

// A master, two replicas, and three Sentinels who know them.
func ExampleStartRedisSentinel() {
	ctx := context.Background()
	s, err := devservices.StartRedisSentinel(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	master, err := s.Master(ctx) // KillMaster and AwaitMaster make it another
	fmt.Println(len(s.Addrs()), master == s.Nodes()[0], err)
	// Output: 3 true <nil>
}

// Three masters with a replica each.
func ExampleStartRedisCluster() {
	ctx := context.Background()
	c, err := devservices.StartRedisCluster(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	master, err := c.Master(ctx, 0) // of the first slot
	fmt.Println(len(c.Addrs()), master == c.Nodes()[0], err)
	// Output: 6 true <nil>
}

// Certificates that are good, and such that must be refused.
func ExampleNewCA() {
	dir, err := os.MkdirTemp("", "ca")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ca, err := devservices.NewCA(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, issue := range []func() (*devservices.Certificate, error){ca.Server, ca.Expired, ca.WrongHost} {
		cert, err := issue()
		if err != nil {
			fmt.Println(err)
			return
		}
		pair, err := cert.TLS()
		if err != nil {
			fmt.Println(err)
			return
		}
		server, err := devservices.StartRedis(context.Background(), devservices.WithRedisTLS(cert))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(pair.Leaf.DNSNames, server.URL()[:9], server.Close())
	}
	// Output:
	// [localhost] rediss:// <nil>
	// [localhost] rediss:// <nil>
	// [another.invalid] rediss:// <nil>
}
