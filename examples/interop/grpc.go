package interop

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	grpchealth "google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/pedro-go/pedro/health"
)

// A GRPCServer is a *grpc.Server as a lifecycle.Component whose health service
// (grpc.health.v1) says what the checks say: "" follows readiness, and each
// check has a service of its name.
type GRPCServer struct {
	*grpc.Server
	addr     string
	status   *grpchealth.Server
	checks   *health.Checker
	listener net.Listener
	failed   chan error

	stopping context.Context //nolint:containedctx // it is the server's
	stop     context.CancelFunc
}

// NewGRPCServer returns a server for addr. The observer that it returns belongs
// into health.New; see TestGRPC.
func NewGRPCServer(addr string, opts ...grpc.ServerOption) (s *GRPCServer, observer func(health.Event)) {
	s = &GRPCServer{Server: grpc.NewServer(opts...), addr: addr, status: grpchealth.NewServer(), failed: make(chan error, 1)}
	s.stopping, s.stop = context.WithCancel(context.Background())
	grpc_health_v1.RegisterHealthServer(s.Server, healthService{s.status, s.stopping})
	return s, func(e health.Event) {
		if e.From != e.To {
			s.follow(e.Check, e.To != health.Fail)
			s.follow("", s.checks.Report(context.Background()).Ready)
		}
	}
}

func (s *GRPCServer) follow(service string, well bool) {
	status := grpc_health_v1.HealthCheckResponse_NOT_SERVING
	if well {
		status = grpc_health_v1.HealthCheckResponse_SERVING
	}
	s.status.SetServingStatus(service, status)
}

// Follow says which checks the health service follows. Call it before they
// start.
func (s *GRPCServer) Follow(c *health.Checker) {
	s.checks = c
	s.follow("", c.Report(context.Background()).Ready)
}

// Start listens.
func (s *GRPCServer) Start(ctx context.Context) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", s.addr)
	if err != nil {
		return fmt.Errorf("grpc: %w", err)
	}
	s.listener = ln
	go func() {
		if err := s.Serve(ln); err != nil {
			s.failed <- fmt.Errorf("grpc: serve: %w", err)
		}
	}()
	return nil
}

// Addr is where the server listens, once it was started.
func (s *GRPCServer) Addr() net.Addr { return s.listener.Addr() }

// Failed tells the group when the server ended by itself.
func (s *GRPCServer) Failed() <-chan error { return s.failed }

// Drain tells clients and balancers, at the beginning of the drain delay, that
// they should go elsewhere; calls are still answered.
func (s *GRPCServer) Drain() { s.status.Shutdown() }

// Stop lets calls at work finish, and cuts them off when ctx is done.
func (s *GRPCServer) Stop(ctx context.Context) error {
	s.Drain()
	s.stop()
	done := make(chan struct{})
	go func() {
		s.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.Server.Stop()
		<-done
		return fmt.Errorf("grpc: calls cut off: %w", context.Cause(ctx))
	}
}

// healthService ends its watches when the server stops: GracefulStop would wait
// for them until the watching clients go, which have no reason to.
type healthService struct {
	*grpchealth.Server
	stopping context.Context //nolint:containedctx // it is the server's
}

// Watch is the one of grpc's health server.
func (s healthService) Watch(in *grpc_health_v1.HealthCheckRequest, stream grpc_health_v1.Health_WatchServer) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	return s.Server.Watch(in, &watch{stream, ctx})
}

type watch struct {
	grpc_health_v1.Health_WatchServer
	ctx context.Context //nolint:containedctx // it is the stream's
}

func (w *watch) Context() context.Context { return w.ctx }
