package lifecycle_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestRollingRestart restarts two server processes in turn behind a balancer
// that follows /ready, under load that cannot be replayed, and counts what
// fails. The short form runs with every test; the long one, and the same with
// http.Server.Shutdown beside it, by
//
//	LIFECYCLE_RESTARTS=10 LIFECYCLE_REQUESTS=200000 go test -run RollingRestart -v ./lifecycle
func TestRollingRestart(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes and takes seconds")
	}
	restarts, requests := fromEnv("LIFECYCLE_RESTARTS", 2), fromEnv("LIFECYCLE_REQUESTS", 0)
	roles := []string{"group"}
	if requests > 0 {
		roles = append(roles, "shutdown")
	}
	for _, role := range roles {
		for _, layer := range []string{"L4", "L7"} {
			t.Run(role+"/"+layer, func(t *testing.T) {
				r := roll(t, role, layer, restarts, int64(requests))
				t.Logf("%-8s %s: %d requests over %d restarts, %d failed; %d streams ended well, %d cut",
					role, layer, r.requests.Load(), r.restarts, r.failed.Load(), r.ended.Load(), r.cut.Load())
				if role == "group" && (r.failed.Load() > 0 || r.cut.Load() > 0) {
					t.Errorf("%d requests failed and %d streams were cut, want none: %s", r.failed.Load(), r.cut.Load(), r.firstFailure())
				}
			})
		}
	}
}

func fromEnv(name string, otherwise int) int {
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		return otherwise
	}
	return n
}

// result is what the clients of a rolling restart saw.
type result struct {
	requests, failed, ended, cut atomic.Int64

	restarts int
	failure  atomic.Pointer[string]
}

func (r *result) firstFailure() string {
	if s := r.failure.Load(); s != nil {
		return *s
	}
	return ""
}

func (r *result) fail(kind string, err error) {
	r.failed.Add(1)
	r.failure.CompareAndSwap(nil, new(kind+": "+err.Error()))
}

// roll runs two processes and restarts them, at least so many times and until
// so many requests were made.
func roll(t *testing.T, role, layer string, restarts int, requests int64) *result {
	t.Helper()
	backends := []*child{startChild(t, role), startChild(t, role)}
	b := newBalancer(t, backends[0].addr, backends[1].addr)
	front := b.serve(t, layer)

	r := &result{}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	clients(ctx, &wg, front, r)
	for r.restarts < restarts || r.requests.Load() < requests && r.restarts < 20*restarts {
		i := r.restarts % 2
		backends[i].signal(t, syscall.SIGTERM)
		if code := backends[i].wait(t); code != 0 {
			t.Errorf("%s exited with %d, want 0", role, code)
		}
		backends[i] = startChild(t, role)
		b.replace(i, backends[i].addr)
		eventually(t, "the balancer to see the new process", func() bool { return b.healthy() == 2 })
		r.restarts++
	}
	stop()
	wg.Wait()
	return r
}

// clients runs the load until ctx is done.
func clients(ctx context.Context, wg *sync.WaitGroup, front string, r *result) {
	loop := func(n int, f func(c *http.Client, rng *rand.Rand)) {
		for i := range n {
			wg.Go(func() {
				transport := &http.Transport{} // one connection a client
				defer transport.CloseIdleConnections()
				c, rng := &http.Client{Transport: transport, Timeout: 20 * time.Second}, rand.New(rand.NewPCG(uint64(i), 1))
				for ctx.Err() == nil {
					f(c, rng)
				}
			})
		}
	}
	do := func(c *http.Client, method, path string) {
		var body io.Reader
		if method == http.MethodPost {
			body = io.MultiReader(strings.NewReader("pay 10")) // a kind that the client cannot rewind and send again
		}
		req, err := http.NewRequest(method, front+path, body)
		if err != nil {
			panic(err)
		}
		r.requests.Add(1)
		resp, err := c.Do(req)
		if err != nil {
			r.fail(method+" "+path, err)
			return
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err == nil && (resp.StatusCode != http.StatusOK || string(text) != "ok") {
			err = fmt.Errorf("status %d, body %q", resp.StatusCode, text)
		}
		if err != nil {
			r.fail(method+" "+path, err)
		}
	}
	pause := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	loop(4, func(c *http.Client, _ *rand.Rand) { do(c, http.MethodGet, "/fast") })
	loop(8, func(c *http.Client, _ *rand.Rand) { do(c, http.MethodPost, "/fast") })
	loop(8, func(c *http.Client, _ *rand.Rand) { do(c, http.MethodPost, "/slow") })
	loop(8, func(c *http.Client, _ *rand.Rand) { do(c, http.MethodGet, "/poll") })
	loop(50, func(c *http.Client, rng *rand.Rand) { // keep-alive connections that are idle most of the time
		pause(time.Duration(rng.IntN(300)) * time.Millisecond)
		do(c, http.MethodPost, "/fast")
	})
	loop(8, func(c *http.Client, _ *rand.Rand) {
		if stream(ctx, c, front, r) {
			return
		}
		pause(50 * time.Millisecond)
	})
}

// stream reads events until the server says good-bye. It reports whether it did.
func stream(ctx context.Context, c *http.Client, front string, r *result) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, front+"/events", http.NoBody)
	if err != nil {
		panic(err)
	}
	r.requests.Add(1)
	resp, err := (&http.Client{Transport: c.Transport}).Do(req)
	if err != nil {
		if ctx.Err() == nil {
			r.fail("GET /events", err)
		}
		return false
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if lines.Text() == "event: bye" {
			r.ended.Add(1)
			return true
		}
	}
	if ctx.Err() == nil {
		r.cut.Add(1)
	}
	return false
}

// balancer spreads over two backends by what their /ready said a while ago: it
// probes every 100 ms, and a verdict takes effect 300 ms later, as in a cluster
// where it has to travel.
type balancer struct {
	mu    sync.Mutex
	addrs [2]string
	ready [2]bool
	next  int
}

func newBalancer(t *testing.T, a, b string) *balancer {
	t.Helper()
	lb := &balancer{addrs: [2]string{a, b}, ready: [2]bool{true, true}}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			for i := range lb.addrs {
				lb.mu.Lock()
				addr := lb.addrs[i]
				lb.mu.Unlock()
				verdict := isReady(addr)
				wg.Go(func() {
					time.Sleep(300 * time.Millisecond)
					lb.mu.Lock()
					defer lb.mu.Unlock()
					if lb.addrs[i] == addr {
						lb.ready[i] = verdict
					}
				})
			}
		}
	})
	t.Cleanup(func() { close(done); wg.Wait(); http.DefaultClient.CloseIdleConnections() })
	return lb
}

func (lb *balancer) replace(i int, addr string) {
	lb.mu.Lock()
	defer lb.mu.Unlock()
	lb.addrs[i], lb.ready[i] = addr, false
}

func (lb *balancer) healthy() int {
	lb.mu.Lock()
	defer lb.mu.Unlock()
	n := 0
	for _, ok := range lb.ready {
		if ok {
			n++
		}
	}
	return n
}

// pick returns the next backend that is believed to be ready.
func (lb *balancer) pick() string {
	lb.mu.Lock()
	defer lb.mu.Unlock()
	for range lb.addrs {
		lb.next = 1 - lb.next
		if lb.ready[lb.next] {
			break
		}
	}
	return lb.addrs[lb.next]
}

// serve starts the balancer's front, which balances each request (L7) or each
// connection (L4), and returns its URL.
func (lb *balancer) serve(t *testing.T, layer string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if layer == "L4" {
		lb.serveL4(t, ln)
	} else {
		lb.serveL7(t, ln)
	}
	return "http://" + ln.Addr().String()
}

func (lb *balancer) serveL7(t *testing.T, ln net.Listener) {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	srv := &http.Server{Handler: &httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1,
		ErrorLog:      nil,
		Rewrite:       func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", lb.pick() },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); transport.CloseIdleConnections() })
}

func (lb *balancer) serveL4(t *testing.T, ln net.Listener) {
	t.Helper()
	var wg sync.WaitGroup
	pipe := func(client net.Conn) {
		defer client.Close()
		server, err := net.Dial("tcp", lb.pick())
		if err != nil {
			return
		}
		defer server.Close()
		var copies sync.WaitGroup
		for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
			copies.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				_ = pair[0].(*net.TCPConn).CloseWrite()
			})
		}
		copies.Wait()
	}
	wg.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { pipe(client) })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
}
