package rig

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// A Balancer sends each request to an instance that is ready: to the next one
// or, if it is sticky, to that of the client's requests before.
//
// Stickiness matters only while Redis is away, when each instance knows what it
// has seen itself and no more.
type Balancer struct {
	URL string

	sticky   bool
	backends []*backend
	next     atomic.Uint64
	server   *http.Server
	stop     context.CancelFunc
	probes   sync.WaitGroup
}

type backend struct {
	url   *url.URL
	ready atomic.Bool
}

// NewBalancer starts a balancer on loopback, which probes each instance every
// interval.
func NewBalancer(interval time.Duration, sticky bool, instances ...*Instance) (*Balancer, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	b := &Balancer{URL: "http://" + ln.Addr().String(), stop: stop, sticky: sticky}
	for _, i := range instances {
		u, err := url.Parse(i.URL)
		if err != nil {
			stop()
			return nil, err
		}
		one := &backend{url: u}
		one.ready.Store(true)
		b.backends = append(b.backends, one)
		b.probes.Go(func() { one.probe(ctx, interval) })
	}
	b.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: &httputil.ReverseProxy{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 100},
		FlushInterval: -1, // streams are passed on as they come
		Rewrite: func(r *httputil.ProxyRequest) {
			i := b.pick(r.In)
			r.SetURL(b.backends[i].url)
			r.Out = r.Out.WithContext(context.WithValue(r.Out.Context(), chosen{}, i))
			r.Out.Host = r.In.Host // the instance compares it with Origin
			r.SetXForwarded()
		},
		ModifyResponse: func(resp *http.Response) error {
			if i, ok := resp.Request.Context().Value(chosen{}).(int); ok && b.sticky {
				resp.Header.Add("Set-Cookie", (&http.Cookie{Name: affinity, Value: strconv.Itoa(i), Path: "/", HttpOnly: true}).String())
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, "balancer: "+err.Error(), http.StatusBadGateway)
		},
	}}
	go func() { _ = b.server.Serve(ln) }()
	return b, nil
}

func (b *backend) probe(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			b.ready.Store(Ready(ctx, b.url.String()))
		}
	}
}

// chosen is the key of the instance's number in a request's context.
type chosen struct{}

// affinity is the cookie by which a sticky balancer knows the client.
const affinity = "balancer"

// pick returns the number of an instance: the one that the client had or the
// next, if it is ready; else any that is.
func (b *Balancer) pick(r *http.Request) int {
	n := len(b.backends)
	first := int(b.next.Add(1) % uint64(n))
	if cookie, err := r.Cookie(affinity); b.sticky && err == nil {
		if had, err := strconv.Atoi(cookie.Value); err == nil && had >= 0 && had < n {
			first = had
		}
	}
	for i := range n {
		if k := (first + i) % n; b.backends[k].ready.Load() {
			return k
		}
	}
	return first
}

// Close stops the balancer.
func (b *Balancer) Close() error {
	b.stop()
	b.probes.Wait()
	return b.server.Close()
}
