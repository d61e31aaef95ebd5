package rig

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// A Balancer sends each request to the next instance that is ready.
type Balancer struct {
	URL string

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
func NewBalancer(interval time.Duration, instances ...*Instance) (*Balancer, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	b := &Balancer{URL: "http://" + ln.Addr().String(), stop: stop}
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
			r.SetURL(b.pick())
			r.Out.Host = r.In.Host // the instance compares it with Origin
			r.SetXForwarded()
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

// pick returns the next that is ready or, if none is, the next.
func (b *Balancer) pick() *url.URL {
	n := uint64(len(b.backends))
	first := b.next.Add(1)
	for i := range n {
		if one := b.backends[(first+i)%n]; one.ready.Load() {
			return one.url
		}
	}
	return b.backends[first%n].url
}

// Close stops the balancer.
func (b *Balancer) Close() error {
	b.stop()
	b.probes.Wait()
	return b.server.Close()
}
