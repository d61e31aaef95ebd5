package devservices

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// What sentinel sets and clusters have in common.

func addrs(nodes []*Redis) []string {
	list := make([]string, 0, len(nodes))
	for _, n := range nodes {
		list = append(list, n.Addr())
	}
	return list
}

func byAddr(nodes []*Redis, addr string) *Redis {
	for _, n := range nodes {
		if n.Addr() == addr {
			return n
		}
	}
	return nil
}

func closeAll(nodes []*Redis) error {
	var err error
	for _, n := range nodes {
		err = errors.Join(err, n.Close())
	}
	return err
}

// pairs turns a flat list of names and values into a map.
func pairs(reply any) map[string]string {
	list, _ := reply.([]any)
	m := map[string]string{}
	for i := 0; i+1 < len(list); i += 2 {
		m[fmt.Sprint(list[i])] = fmt.Sprint(list[i+1])
	}
	return m
}

// poll asks until missing has nothing to complain about any more.
func poll(ctx context.Context, what string, missing func(context.Context) error) error {
	ctx, cancel := withDefaultTimeout(ctx)
	defer cancel()
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		err := missing(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("devservices: %s: %w: %w", what, context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}
