package faultproxy_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/internal/faultproxy"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatalf("connect: got error %v, want none", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	})
	return conn
}

// bed is a server, a way to it that tells the truth, and one through a proxy.
type bed struct {
	direct *pgx.Conn
	proxy  *faultproxy.Proxy
	url    string // through the proxy
}

func newBed(t *testing.T) *bed {
	t.Helper()
	s := pgpooltest.StartServer(t)
	p := faultproxy.Start(t, s.Addr(), faultproxy.Postgres())
	b := &bed{direct: connect(t, s.URL()), proxy: p, url: p.URL(s.URL())}
	if _, err := b.direct.Exec(t.Context(), "CREATE TABLE t (n int)"); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bed) rows(t *testing.T) int {
	t.Helper()
	var n int
	if err := b.direct.QueryRow(t.Context(), "SELECT count(*) FROM t").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// commitOne inserts a row in a transaction through the proxy and returns what COMMIT returned.
func (b *bed) commitOne(t *testing.T) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tx, err := connect(t, b.url).Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, "INSERT INTO t VALUES ($1)", 1); err != nil {
		t.Fatal(err)
	}
	return tx.Commit(ctx)
}

func TestPostgresCutAtCommit(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	when := func(is func(*faultproxy.Message) bool, v faultproxy.Verdict) {
		b.proxy.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
			if is(m) {
				return v
			}
			return faultproxy.Pass
		})
	}
	sent := func(m *faultproxy.Message) bool { return m.Executes("COMMIT") }
	done := func(m *faultproxy.Message) bool { return m.Completes("COMMIT") }
	want := 0
	for _, c := range []struct {
		name    string
		is      func(*faultproxy.Message) bool
		verdict faultproxy.Verdict
		stands  bool
	}{
		{"COMMIT is lost", sent, faultproxy.Cut, false},
		{"COMMIT arrives and the client is cut at once", sent, faultproxy.PassThenCut, true},
		{"the reply to COMMIT is lost and the connection cut", done, faultproxy.Cut, true},
	} {
		when(c.is, c.verdict)
		if err := b.commitOne(t); err == nil {
			t.Errorf("%s: Commit got no error, want one", c.name)
		}
		if c.stands {
			want++
		}
		// The server works on after its client has gone.
		eventually(t, c.name+": the right number of rows", func() bool { return b.rows(t) == want })
	}
	when(sent, faultproxy.Pass)
	if err := b.commitOne(t); err != nil {
		t.Fatalf("Commit without a fault: got error %v, want none", err)
	}
	if got := b.rows(t); got != want+1 {
		t.Errorf("rows at the end: got %d, want %d", got, want+1)
	}
}

func TestPostgresStalledReply(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.proxy.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
		if m.Completes("SELECT 1") {
			return faultproxy.Stall
		}
		return faultproxy.Pass
	})
	conn := connect(t, b.url)
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	var n int
	if err := conn.QueryRow(ctx, "SELECT 1").Scan(&n); err == nil {
		t.Error("a query whose reply is stalled: got no error, want a timeout")
	}
}

func TestPostgresMessagesOfTheExtendedProtocol(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	var (
		mu   sync.Mutex
		seen []string
	)
	b.proxy.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case m.Dir == faultproxy.ToServer && m.SQL != "":
			seen = append(seen, string(m.Type)+" "+m.SQL)
		case m.Tag != "":
			seen = append(seen, "= "+m.Tag)
		case m.Code != "":
			seen = append(seen, "! "+m.Code)
		}
		return faultproxy.Pass
	})
	conn := connect(t, b.url)
	const insert = "INSERT INTO t VALUES ($1)"
	for i := range 2 {
		if _, err := conn.Exec(t.Context(), insert, i); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Exec(t.Context(), "SELECT 1/0"); err == nil {
		t.Fatal("division by zero: got no error, want one")
	}
	big := strings.Repeat("x", 1<<20) // many reads long
	var back string
	if err := conn.QueryRow(t.Context(), "SELECT $1::text", big).Scan(&back); err != nil || back != big {
		t.Fatalf("a long value: got %d bytes, %v, want %d", len(back), err, len(big))
	}
	want := []string{
		"P " + insert, "B " + insert, "E " + insert, "= INSERT 0 1",
		"B " + insert, "E " + insert, "= INSERT 0 1",
		"Q SELECT 1/0", "! 22012",
		"P SELECT $1::text", "B SELECT $1::text", "E SELECT $1::text", "= SELECT 1",
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(seen, want) {
		t.Errorf("messages: got\n%s\nwant\n%s", strings.Join(seen, "\n"), strings.Join(want, "\n"))
	}
}

func TestPostgresRefusedTLSIsFollowed(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	// sslmode=prefer asks for TLS, is told no, and goes on in the clear.
	conn := connect(t, strings.Replace(b.url, "sslmode=disable", "sslmode=prefer", 1))
	b.proxy.OnMessage(func(m *faultproxy.Message) faultproxy.Verdict {
		if m.Executes("select 2") {
			return faultproxy.Cut
		}
		return faultproxy.Pass
	})
	if _, err := conn.Exec(t.Context(), "SELECT 1;"); err != nil {
		t.Errorf("SELECT 1: got error %v, want none", err)
	}
	if _, err := conn.Exec(t.Context(), " SELECT 2; "); err == nil {
		t.Error("SELECT 2: got no error, want that of a cut connection")
	}
}
