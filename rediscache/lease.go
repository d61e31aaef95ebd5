package rediscache

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/internal/backoff"
)

// leasePrefix begins the keys of leases: pedro:lease:user:42.
const leasePrefix = "pedro:lease:"

// leasePolls is how often those without the lease look for its result.
var leasePolls = backoff.Policy{Min: 5 * time.Millisecond, Max: 50 * time.Millisecond}

// obtainExclusively loads while holding the lease, or waits for whoever holds
// it. The lease saves work; that nothing old is stored does not depend on it.
func (n *Namespace[V]) obtainExclusively(ctx context.Context, job loadJob[V], flight *flight[V]) (V, error) {
	var zero V
	lease := leasePrefix + n.prefix + job.key
	token := strconv.FormatUint(rand.Uint64(), 36) //nolint:gosec // tells holders apart
	for attempt := 0; ; attempt++ {
		held, err := n.cache.acquire(ctx, lease, token, job.entry.lease)
		if err != nil {
			return n.loadAndStore(ctx, job, flight) // no Redis, no lease
		}
		// With or without the lease: has the one before stored the value?
		f, err := n.fetch(ctx, job.key)
		if err == nil {
			if value, err, ok := f.answer(); ok && !due(&f, &job) {
				if held {
					n.cache.release(ctx, lease, token)
				}
				return value, err
			}
			job.found.seal = f.seal
		}
		if held {
			return n.loadLeased(ctx, job, flight, lease, token)
		}
		if leasePolls.Wait(ctx, attempt) != nil {
			return zero, context.Cause(ctx)
		}
	}
}

// loadLeased loads while it renews the lease, and gives it back.
func (n *Namespace[V]) loadLeased(ctx context.Context, job loadJob[V], flight *flight[V], lease, token string) (V, error) {
	defer n.cache.release(context.WithoutCancel(ctx), lease, token)
	renewed, cancel := context.WithCancel(ctx)
	defer cancel()
	go n.cache.renew(renewed, lease, token, job.entry.lease)
	return n.loadAndStore(ctx, job, flight)
}

// due reports whether an early refresh still has to be done: the value that
// was there before is there still.
func due[V any](f *found[V], job *loadJob[V]) bool {
	return job.found.kind == foundFresh && f.seal == job.found.seal
}

func (c *Cache) acquire(ctx context.Context, lease, token string, d time.Duration) (bool, error) {
	err := c.link.client.SetArgs(ctx, lease, token, redis.SetArgs{Mode: "NX", TTL: d}).Err()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	return err == nil, err
}

// renew keeps a lease until ctx ends. If it cannot, the lease runs out and
// somebody else loads too, which is work and not wrong.
func (c *Cache) renew(ctx context.Context, lease, token string, d time.Duration) {
	tick := time.NewTicker(d / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = renewScript.Run(ctx, c.link.client, []string{lease}, token, d.Milliseconds()).Err()
		case <-ctx.Done():
			return
		}
	}
}

func (c *Cache) release(ctx context.Context, lease, token string) {
	_ = releaseScript.Run(ctx, c.link.client, []string{lease}, token).Err()
}

var (
	renewScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0`)
	releaseScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`)
)
