package session_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

// sink is a response that is thrown away.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header       { return s.header }
func (*sink) Write(p []byte) (int, error) { return len(p), nil }
func (*sink) WriteHeader(int)             {}

// contender is a handler, and what to send to it.
type contender struct {
	name    string
	handler http.Handler
	cookies []string
}

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

// contenders are the handlers that are compared, all on one Redis.
func contenders(b *testing.B) []contender {
	b.Helper()
	url := rediscachetest.Start(b)
	client := dial(b, url)
	own := open(b, client, session.Config{})
	cached := open(b, client, session.Config{LocalCache: time.Second})
	client.Set(b.Context(), "raw", make([]byte, 300), 0)
	me := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if session.From(r.Context()).UserID() == "" {
			b.Error("nobody is logged in")
		}
		_, _ = io.WriteString(w, "hello")
	})
	var n atomic.Int64
	write := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := session.Set(session.From(r.Context()), "n", n.Add(1)); err != nil {
			b.Error(err)
		}
		_, _ = io.WriteString(w, "hello")
	})
	rawGet := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := client.Get(r.Context(), "raw").Err(); err != nil {
			b.Error(err)
		}
		_, _ = io.WriteString(w, "hello")
	})
	var cookies []string
	base := app(b, own)
	for i := range 64 {
		u := newBrowser(b, base)
		u.want(fmt.Sprint("/login?u=user", i), 200, "")
		cookies = append(cookies, u.cookies())
	}
	return []contender{
		{"plain", http.HandlerFunc(hello), []string{""}},
		{"anonymous", session.Middleware(own)(http.HandlerFunc(hello)), []string{""}},
		{"raw-get", rawGet, []string{""}},
		{"read", session.Middleware(own)(me), cookies},
		{"read-cached", session.Middleware(cached)(me), cookies},
		{"write", session.Middleware(own)(write), cookies},
	}
}

// BenchmarkHandlers has each handler called directly: without the cost of HTTP
// the differences are larger than users see, and allocations are our own.
func BenchmarkHandlers(b *testing.B) {
	for _, c := range contenders(b) {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(16)
			var n atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				cookie := c.cookies[int(n.Add(1))%len(c.cookies)]
				if cookie != "" {
					r.Header.Set("Cookie", cookie)
				}
				w := &sink{header: http.Header{}}
				for pb.Next() {
					clear(w.header)
					c.handler.ServeHTTP(w, r)
				}
			})
		})
	}
}

// BenchmarkServed measures over HTTP on loopback, 32 clients at a time. The
// handlers take turns within one run, so that a busy machine is as busy for all;
// ratio is the median over the turns of requests a second against raw-get.
func BenchmarkServed(b *testing.B) {
	const turns, turn, clients = 8, 250 * time.Millisecond, 32
	all := contenders(b)
	rates := make([][]float64, len(all))
	servers := make([]*httptest.Server, len(all))
	for i, c := range all {
		servers[i] = httptest.NewServer(c.handler)
		b.Cleanup(servers[i].Close)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for b.Loop() {
		for range turns {
			for i, c := range all {
				rates[i] = append(rates[i], rate(b, client, servers[i].URL, c.cookies, clients, turn))
			}
		}
	}
	for i, c := range all {
		ratios := make([]float64, len(rates[i]))
		plain := make([]float64, len(rates[i]))
		for j := range ratios {
			ratios[j] = rates[i][j] / rates[2][j]
			plain[j] = rates[i][j] / rates[0][j]
		}
		b.ReportMetric(median(ratios), c.name+"/raw-get")
		b.ReportMetric(median(plain), c.name+"/plain")
	}
}

func rate(b *testing.B, client *http.Client, url string, cookies []string, clients int, d time.Duration) float64 {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var done atomic.Int64
	finished := make(chan struct{})
	began := time.Now()
	for i := range clients {
		go func() {
			defer func() { finished <- struct{}{} }()
			for n := i; ctx.Err() == nil; n++ {
				req, _ := http.NewRequest(http.MethodGet, url, http.NoBody)
				if c := cookies[n%len(cookies)]; c != "" {
					req.Header.Set("Cookie", c)
				}
				res, err := client.Do(req)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				done.Add(1)
			}
		}()
	}
	for range clients {
		<-finished
	}
	return float64(done.Load()) / time.Since(began).Seconds()
}
