package interop_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/pedro-go/pedro/examples/interop"
	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/lifecycle"
)

// TestGRPC: the health service follows the checks while somebody watches it,
// says NOT_SERVING during the drain while calls are answered, and a call at work
// at the stop is finished.
func TestGRPC(t *testing.T) {
	t.Parallel()
	working, release := make(chan struct{}), make(chan struct{})
	server, observer := interop.NewGRPCServer("127.0.0.1:0")
	server.RegisterService(greeter(func(_ context.Context, name string) string {
		if name == "slow" {
			close(working)
			<-release
		}
		return "hello " + name
	}), nil)
	checks, err := health.New(health.Config{Interval: 20 * time.Millisecond}, health.WithObserver(observer), health.WithLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	var broken atomic.Bool
	checks.Add("postgres", func(context.Context) error {
		if broken.Load() {
			return errors.New("broken")
		}
		return nil
	})
	server.Follow(checks)
	g := group(t, lifecycle.WithDrain(0, checks.SetDraining))
	g.Add("health", checks)
	g.Add("grpc", server)
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(server.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	hello := func(name string) (string, error) {
		var reply wrapperspb.StringValue
		err := conn.Invoke(ctx, "/pedro.Greeter/Hello", wrapperspb.String(name), &reply)
		return reply.GetValue(), err
	}

	watch, err := grpc_health_v1.NewHealthClient(conn).Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	until := func(want grpc_health_v1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		for {
			r, err := watch.Recv()
			if err != nil {
				t.Fatalf("the watch ended with %v before %v", err, want)
			}
			if r.GetStatus() == want {
				return
			}
		}
	}
	until(grpc_health_v1.HealthCheckResponse_SERVING)
	broken.Store(true)
	until(grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	r, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: "postgres"})
	if err != nil || r.GetStatus() != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("the service postgres is %v, %v, want NOT_SERVING", r.GetStatus(), err)
	}
	broken.Store(false)
	until(grpc_health_v1.HealthCheckResponse_SERVING)

	atWork := make(chan error, 1)
	go func() {
		got, err := hello("slow")
		if err == nil && got != "hello slow" {
			err = errors.New("got " + got)
		}
		atWork <- err
	}()
	<-working
	g.Drain()
	until(grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	if got, err := hello("Anna"); err != nil || got != "hello Anna" {
		t.Errorf("while draining got %q, %v, want an answer", got, err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- g.Stop(context.Background()) }()
	for { // until new calls are refused, so that the stop has begun
		if _, err := hello("Anna"); status.Code(err) == codes.Unavailable {
			break
		} else if ctx.Err() != nil {
			t.Fatal("calls are answered 30s after the stop began")
		}
	}
	close(release)
	if err := <-atWork; err != nil {
		t.Errorf("the call at work: %v, want its answer", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("the stop: %v", err)
	}
}

// greeter is a service with one method, as protoc would describe it.
func greeter(hello func(ctx context.Context, name string) string) *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "pedro.Greeter",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Hello",
			Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				var in wrapperspb.StringValue
				if err := decode(&in); err != nil {
					return nil, err
				}
				return wrapperspb.String(hello(ctx, in.GetValue())), nil
			},
		}},
	}
}
