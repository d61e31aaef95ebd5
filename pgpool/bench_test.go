package pgpool_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
)

// The benchmarks here stand side by side with the same work on a bare
// pgxpool.Pool in the same run, so that their ratio means something on a noisy
// machine:
//
//	go test -run '^$' -bench . -benchtime 2s -count 5 ./pgpool

type account struct {
	ID      int64
	Name    string
	Email   string
	Balance int64
	Active  bool
	Made    time.Time
}

const getSQL = "select id, name, email, balance, active, made from accounts where id = $1"

func benchPools(b *testing.B, url string) (*pgpool.Pool, *pgxpool.Pool) {
	b.Helper()
	p := newPool(b, pgpool.Config{URL: url})
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		b.Fatal(err)
	}
	cfg.MaxConns = pgpool.DefaultMaxConns
	raw, err := pgxpool.NewWithConfig(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(raw.Close)
	return p, raw
}

func benchURL(b *testing.B) string {
	b.Helper()
	if url := os.Getenv("PEDRO_BENCH_URL"); url != "" {
		return url
	}
	return pgpooltest.Start(b)
}

func makeAccounts(b *testing.B, p *pgpool.Pool) {
	b.Helper()
	mustExec(b, p, "drop table if exists accounts, moves", "create table accounts (id bigint primary key, name text, email text, balance bigint, active bool, made timestamptz)",
		"create table moves (id bigserial primary key, account bigint, amount bigint)",
		"insert into accounts select i, 'name ' || i, 'a' || i || '@example.com', 0, true, now() from generate_series(1, 1000) i", "vacuum analyze accounts")
}

// cpuTime is the processor time of this process, servers left out.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// sideBySide runs the same work on both, in turns, and reports the median ratio
// of their throughputs, and the ratio of the processor time that they took.
func sideBySide(b *testing.B, callers int, ours, raw func(worker, i int) error) {
	b.Helper()
	type cost struct{ took, cpu time.Duration }
	turn := func(n int, f func(worker, i int) error) cost {
		start, before := time.Now(), cpuTime(b)
		var wg sync.WaitGroup
		for w := range callers {
			wg.Go(func() {
				for i := range n / callers {
					if err := f(w, i); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		return cost{time.Since(start), cpuTime(b) - before}
	}
	turn(callers*20, ours) // connections and statements
	turn(callers*20, raw)
	b.ResetTimer()
	// Many short turns, and their median: what else the machine does hits few.
	const turns = 40
	n := max(b.N/turns, callers)
	var ratios []float64
	var ourSum, rawSum cost
	for t := range turns {
		var o, r cost
		if t%2 == 0 {
			o, r = turn(n, ours), turn(n, raw)
		} else {
			r, o = turn(n, raw), turn(n, ours)
		}
		ourSum.took, ourSum.cpu, rawSum.cpu = ourSum.took+o.took, ourSum.cpu+o.cpu, rawSum.cpu+r.cpu
		ratios = append(ratios, r.took.Seconds()/o.took.Seconds())
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[turns/2], "x-raw")
	b.ReportMetric(rawSum.cpu.Seconds()/ourSum.cpu.Seconds(), "x-raw-cpu")
	b.ReportMetric(float64(n*turns)/ourSum.took.Seconds(), "ours/s")
}

func BenchmarkGetVersusRaw(b *testing.B) {
	url := benchURL(b)
	p, raw := benchPools(b, url)
	makeAccounts(b, p)
	for _, callers := range []int{1, 16, 64} {
		b.Run(strconv.Itoa(callers), func(b *testing.B) {
			sideBySide(b, callers, func(w, i int) error {
				_, err := pgpool.Get[account](b.Context(), p, getSQL, (w*31+i)%1000+1)
				return err
			}, func(w, i int) error {
				var a account
				return raw.QueryRow(b.Context(), getSQL, (w*31+i)%1000+1).Scan(&a.ID, &a.Name, &a.Email, &a.Balance, &a.Active, &a.Made)
			})
		})
	}
}

func BenchmarkGetAllocs(b *testing.B) {
	p, raw := benchPools(b, benchURL(b))
	makeAccounts(b, p)
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := pgpool.Get[account](context.Background(), p, getSQL, 7); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("raw", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var a account
			if err := raw.QueryRow(context.Background(), getSQL, 7).Scan(&a.ID, &a.Name, &a.Email, &a.Balance, &a.Active, &a.Made); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkTransactionVersusRaw(b *testing.B) {
	for _, latency := range []time.Duration{0, time.Millisecond} {
		url := benchURL(b)
		if latency > 0 {
			url = delayed(b, url, latency)
		}
		p, raw := benchPools(b, url)
		makeAccounts(b, p)
		for _, callers := range []int{1, 8} {
			b.Run(fmt.Sprintf("latency=%v/callers=%d", latency, callers), func(b *testing.B) {
				work := func(ctx context.Context, tx pgx.Tx, id int) error {
					if _, err := tx.Exec(ctx, "update accounts set balance = balance + 1 where id = $1", id); err != nil {
						return err
					}
					_, err := tx.Exec(ctx, "insert into moves (account, amount) values ($1, $2)", id, 1)
					return err
				}
				sideBySide(b, callers, func(w, i int) error {
					return p.InTx(context.Background(), func(ctx context.Context, tx pgx.Tx) error { return work(ctx, tx, w*20+i%20+1) })
				}, func(w, i int) error {
					return pgx.BeginFunc(context.Background(), raw, func(tx pgx.Tx) error { return work(context.Background(), tx, w*20+i%20+1) })
				})
			})
		}
	}
}

func BenchmarkBatchInsertVersusCopyFrom(b *testing.B) {
	p, raw := benchPools(b, benchURL(b))
	mustExec(b, p, "drop table if exists bulk", "create unlogged table bulk (id bigint, name text, email text, balance bigint, active bool, made timestamptz)")
	for _, n := range []int{10_000, 100_000} {
		rows := make([]account, n)
		for i := range rows {
			rows[i] = account{int64(i), fmt.Sprint("name ", i), fmt.Sprintf("a%d@example.com", i), int64(i), true, time.Now()}
		}
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			var ours, plain time.Duration
			for b.Loop() {
				mustExec(b, p, "truncate bulk")
				start := time.Now()
				if got, err := pgpool.BatchInsert(context.Background(), p, "bulk", rows); err != nil || got != int64(n) {
					b.Fatal(got, err)
				}
				ours += time.Since(start)
				mustExec(b, p, "truncate bulk")
				start = time.Now()
				if got, err := raw.CopyFrom(context.Background(), pgx.Identifier{"bulk"}, []string{"id", "name", "email", "balance", "active", "made"},
					pgx.CopyFromSlice(n, func(i int) ([]any, error) {
						r := &rows[i]
						return []any{r.ID, r.Name, r.Email, r.Balance, r.Active, r.Made}, nil
					})); err != nil || got != int64(n) {
					b.Fatal(got, err)
				}
				plain += time.Since(start)
			}
			b.ReportMetric(plain.Seconds()/ours.Seconds(), "x-copyfrom")
			b.ReportMetric(float64(n*b.N)/ours.Seconds(), "rows/s")
		})
	}
}

// delayed forwards to a server with a latency: half of the round trip each way.
func delayed(b *testing.B, url string, rtt time.Duration) string {
	b.Helper()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		b.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port))))
			if err != nil {
				client.Close()
				continue
			}
			go late(server, client, rtt/2)
			go late(client, server, rtt/2)
		}
	}()
	return fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", cfg.User, cfg.Password, ln.Addr(), cfg.Database)
}

// late copies what arrives, each piece by so much later.
func late(dst io.WriteCloser, src io.Reader, by time.Duration) {
	type piece struct {
		data []byte
		due  time.Time
	}
	pieces := make(chan piece, 1024)
	go func() {
		defer dst.Close()
		for p := range pieces {
			time.Sleep(time.Until(p.due))
			if _, err := dst.Write(p.data); err != nil {
				break
			}
		}
		for range pieces { // drained
		}
	}()
	defer close(pieces)
	for {
		buf := make([]byte, 32<<10)
		n, err := src.Read(buf)
		if n > 0 {
			pieces <- piece{buf[:n], time.Now().Add(by)}
		}
		if err != nil {
			return
		}
	}
}
