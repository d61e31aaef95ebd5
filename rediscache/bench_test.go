package rediscache_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

const benchKeys = 10_000

// Compared are reads of 100 bytes by so many callers at a time, alternating in
// rounds in one run, because a shared machine is never the same twice. The
// metrics x_raw and x_auto are ratios of throughput, ours to go-redis' plain
// client and to its AutoPipeline.
func BenchmarkGet(b *testing.B) {
	url := rediscachetest.Start(b)
	ctx := b.Context()
	ours := open(b, rediscache.Config{URL: url, Required: true})
	ns := rediscache.Of[[]byte](ours, "bench", rediscache.WithCodec(rediscache.Raw), rediscache.TTL(time.Hour))
	opt, err := redis.ParseURL(url)
	if err != nil {
		b.Fatal(err)
	}
	raw := redis.NewClient(opt)
	b.Cleanup(func() { raw.Close() })
	auto, err := redis.NewClient(opt).AutoPipeline()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { auto.Close() })
	value := []byte(strings.Repeat("x", 100))
	keys := make([]string, benchKeys)
	items := map[string][]byte{}
	for i := range keys {
		keys[i] = fmt.Sprint(i)
		items[keys[i]] = value
	}
	if err := ns.SetMany(ctx, items); err != nil {
		b.Fatal(err)
	}
	full := make([]string, len(keys))
	for i, k := range keys {
		full[i] = "bench:" + k
	}
	contenders := []contender{
		{"raw", func(ctx context.Context, i int) error { return raw.Get(ctx, full[i]).Err() }},
		{"auto", func(ctx context.Context, i int) error { return auto.Get(ctx, full[i]).Err() }},
		{"ours", func(ctx context.Context, i int) error { _, err := ns.Get(ctx, keys[i]); return err }},
	}
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			b.ReportAllocs()
			rounds := compete(b, callers, contenders)
			b.ReportMetric(median(rounds["ours"]), "ours_ops/s")
			b.ReportMetric(medianRatio(rounds["ours"], rounds["raw"]), "x_raw")
			b.ReportMetric(medianRatio(rounds["ours"], rounds["auto"]), "x_auto")
		})
	}
}

type contender struct {
	name string
	do   func(ctx context.Context, i int) error
}

// compete gives each contender the same time, in turns of changing order, and
// returns the operations per second of each round.
func compete(b *testing.B, callers int, contenders []contender) map[string][]float64 {
	b.Helper()
	all := map[string][]float64{}
	for round := 0; b.Loop(); round++ {
		for i := range contenders {
			c := contenders[(i+round)%len(contenders)]
			all[c.name] = append(all[c.name], rate(b, callers, 100*time.Millisecond, c.do))
		}
	}
	return all
}

func rate(b *testing.B, callers int, d time.Duration, do func(ctx context.Context, i int) error) float64 {
	b.Helper()
	var ops atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	began := time.Now()
	for g := range callers {
		wg.Go(func() {
			n := 0
			for i := g * 31; !stop.Load(); i += 7 {
				if err := do(context.Background(), i%benchKeys); err != nil {
					b.Error(err)
					return
				}
				n++
			}
			ops.Add(int64(n))
		})
	}
	time.Sleep(d)
	stop.Store(true)
	wg.Wait()
	return float64(ops.Load()) / time.Since(began).Seconds()
}

func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

// medianRatio compares within each round.
func medianRatio(a, b []float64) float64 {
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return median(ratios)
}

func BenchmarkNearHit(b *testing.B) {
	c := fresh(b)
	n := rediscache.Of[user](c, "user", rediscache.Near(1000))
	if err := n.Set(b.Context(), "1", user{ID: 1, Name: "Ana"}); err != nil {
		b.Fatal(err)
	}
	for n.Stats().NearHits == 0 {
		if _, err := n.Get(b.Context(), "1"); err != nil {
			b.Fatal(err)
		}
	}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := n.Get(ctx, "1"); err != nil {
			b.Fatal(err)
		}
	}
}

// ClearPattern of a million keys among 1.2 million, while another client reads:
// keys per second, and the 99th percentile and maximum of what that client
// waits.
func BenchmarkClearPattern(b *testing.B) {
	const doomed, kept = 1_000_000, 200_000
	server := rediscachetest.StartServer(b)
	c := open(b, rediscache.Config{URL: server.URL(), Required: true})
	opt, err := redis.ParseURL(server.URL())
	if err != nil {
		b.Fatal(err)
	}
	other := redis.NewClient(opt)
	b.Cleanup(func() { other.Close() })
	fill := redis.NewScript(`for i = tonumber(ARGV[2]), tonumber(ARGV[3]) do redis.call('SET', ARGV[1] .. i, 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx') end return 1`)
	ctx := b.Context()
	var keysPerSecond, p99, worst float64
	for b.Loop() {
		b.StopTimer()
		for name, n := range map[string]int{"doomed:": doomed, "kept:": kept} {
			for from := 1; from <= n; from += 10_000 {
				if err := fill.Run(ctx, other, nil, name, from, from+9_999).Err(); err != nil {
					b.Fatal(err)
				}
			}
		}
		var waits []float64
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				began := time.Now()
				if err := other.Get(ctx, "kept:1").Err(); err != nil {
					b.Error(err)
					return
				}
				waits = append(waits, float64(time.Since(began).Microseconds())/1e3)
				time.Sleep(200 * time.Microsecond)
			}
		})
		b.StartTimer()
		began := time.Now()
		n, err := c.ClearPattern(ctx, "doomed:*")
		took := time.Since(began)
		close(stop)
		wg.Wait()
		if err != nil || n != doomed {
			b.Fatalf("ClearPattern = %d and %v", n, err)
		}
		slices.Sort(waits)
		keysPerSecond = doomed / took.Seconds()
		p99, worst = waits[len(waits)*99/100], waits[len(waits)-1]
	}
	b.ReportMetric(keysPerSecond, "keys/s")
	b.ReportMetric(p99, "others_p99_ms")
	b.ReportMetric(worst, "others_max_ms")
}
