package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pedro-go/pedro/rediscache"
)

// clockLimit is the difference of clocks from which tokens, lifetimes and logs
// are no longer to be compared between machines.
const clockLimit = 2 * time.Second

// examine looks at everything within the time limit.
func examine(ctx context.Context, o options, p *progress) *report {
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("the examination's limit of %v is over (-timeout)", o.timeout))
	defer cancel()
	defer p.done()
	r := &report{}
	readSettings(r)

	r.area = "postgres"
	examinePostgres(ctx, r, o, p)

	r.area = "redis"
	cache, stop := examineRedis(ctx, r, o, p)
	defer stop()

	r.area = "session"
	examineSessions(r, o, cache)
	return r
}

// reaching bounds the wait for a server, so that the other is looked at too.
func reaching(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limit, errors.New("no answer"))
}

// closing bounds what is done after the examination, whatever became of it.
func closing() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), time.Second)
}

// whyNot says in a few words why a server cannot be reached, and what to look
// at. The packages' errors hold no secrets; those of drivers are not repeated.
func whyNot(err error, variable string) (found, change string) {
	if pg, is := errors.AsType[*pgconn.PgError](err); is {
		switch {
		case strings.HasPrefix(pg.Code, "28"):
			return "the server refuses user or password (" + pg.Code + ")", "put the right user and password into " + variable
		case pg.Code == "3D000":
			return "there is no such database (3D000)", "correct the name at the end of " + variable + ", or create the database"
		case pg.Code == "53300":
			return "the server has no connection left (53300)", "lower DB_POOL_MAX of its clients, raise max_connections, or put PgBouncer in between"
		default:
			return "the server refuses: " + pg.Code, "see its log"
		}
	}
	text := err.Error()
	switch _, isDNS := errors.AsType[*net.DNSError](err); {
	case isDNS || strings.Contains(text, "no such host"):
		return "the host's name is not known", "correct the host in " + variable
	case errors.Is(err, syscall.ECONNREFUSED) || strings.Contains(text, "connection refused"):
		return "nobody listens there: connection refused", "start the server, or correct host and port in " + variable
	case strings.Contains(text, "WRONGPASS") || strings.Contains(text, "NOAUTH") || strings.Contains(text, "invalid username-password"):
		return "the server refuses user or password", "put the right user and password into " + variable
	case strings.Contains(text, "NOPERM"):
		return "the user may not do this", "give it the rights (ACL SETUSER), or name another in " + variable
	case strings.Contains(text, "refused TLS"), strings.Contains(text, "first record does not look like a TLS handshake"):
		return "the server does not speak TLS", "switch TLS on at the server, or off in " + variable
	case strings.Contains(text, "x509") || strings.Contains(text, "tls:") || strings.Contains(text, "certificate"):
		return "the TLS handshake fails: the certificate is not accepted", "name the authority (sslrootcert, REDIS_TLS_CA) and the right host in " + variable
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, rediscache.ErrUnavailable), strings.Contains(text, "no answer"), strings.Contains(text, "timeout"):
		return "no answer in time", "look at the server, at firewalls, at the host in " + variable + ", and whether both sides agree on TLS; a longer -timeout tells whether it is only slow"
	default:
		return "it cannot be reached", "see the service's log for the reason"
	}
}

// reportClock compares the server's clock with ours. The server read it
// between before and after.
func reportClock(r *report, before, server, after time.Time) {
	roundTrip := after.Sub(before)
	ahead := server.Sub(before.Add(roundTrip / 2))
	shown := fmt.Sprintf("%v from ours, ± %v", ahead.Round(time.Millisecond), (roundTrip / 2).Round(100*time.Microsecond))
	if ahead.Abs()-roundTrip/2 > clockLimit {
		r.problem("clock", shown, "synchronise both machines (chrony, systemd-timesyncd)")
		return
	}
	r.ok("clock", "%s", shown)
}

// percent is the part of a whole, for people.
func percent(part, whole int64) string { return fmt.Sprintf("%d %%", part*100/max(whole, 1)) }
