package rediscache

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// A call is the context of one call: the caller's, with a deadline added. It
// costs one small allocation; context.WithTimeout costs four, and a timer.
// There is no timer because go-redis puts the deadline on the socket.
type call struct {
	context.Context

	deadline time.Time
	gate     *gate
}

type callKey struct{}

func (c *call) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

func (c *call) Value(key any) any {
	if _, ok := key.(callKey); ok {
		return c
	}
	return c.Context.Value(key)
}

// A gateHook is the gate and the time limit as every command meets them, the
// cache's own and those of other users of the client.
type gateHook struct {
	gate    *gate
	timeout time.Duration
}

var _ redis.Hook = gateHook{}

// DialHook changes nothing: the dialer does that work.
func (h gateHook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook guards a single command.
func (h gateHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		name := cmd.Name()
		if h.nested(ctx, name) {
			return next(ctx, cmd)
		}
		if err := h.gate.allow(); err != nil {
			return err
		}
		began := time.Now()
		c := &call{Context: ctx, gate: h.gate}
		waits := blocking(name, cmd)
		if waits {
			c.deadline, _ = ctx.Deadline()
		} else {
			c.deadline = limit(ctx, began, h.timeout)
		}
		epoch := h.gate.epoch.Load()
		err := next(c, cmd)
		if err == nil {
			h.gate.ok()
			return nil
		}
		kind := classify(err)
		if h.again(kind, c, cmd) {
			err = next(c, cmd)
			kind = classify(err)
		}
		if !waits || kind != classTimeout { // a caller of BLPOP that has waited for long enough says nothing about the server
			h.gate.failed(kind, err, epoch, time.Since(began))
		}
		return err
	}
}

// ProcessPipelineHook guards a pipeline or a transaction as one call.
func (h gateHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if len(cmds) > 0 && h.nested(ctx, cmds[0].Name()) {
			return next(ctx, cmds)
		}
		if err := h.gate.allow(); err != nil {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
			return err
		}
		began := time.Now()
		c := &call{Context: ctx, gate: h.gate, deadline: limit(ctx, began, h.pipelineTimeout(len(cmds)))}
		epoch := h.gate.epoch.Load()
		err := next(c, cmds)
		if err == nil {
			h.gate.ok()
			return nil
		}
		kind := classify(err)
		// The error may be that of one command of many, and the others ran.
		if idempotent(cmds...) && h.again(kind, c, cmds...) {
			err = next(c, cmds)
			kind = classify(err)
		}
		h.gate.failed(kind, err, epoch, time.Since(began))
		return err
	}
}

// pipelineTimeout gives long pipelines longer: Redis needs some microseconds a
// command, and the network for what they carry.
func (h gateHook) pipelineTimeout(cmds int) time.Duration {
	return h.timeout + time.Duration(cmds)*h.timeout/1000
}

// nested reports whether a command is part of the handshake of a new
// connection: go-redis sends HELLO and its like through the hooks as well, with
// the context of the call that needed the connection.
func (h gateHook) nested(ctx context.Context, name string) bool {
	switch name {
	case "hello", "auth", "select", "client", "readonly":
		outer, ok := ctx.Value(callKey{}).(*call)
		return ok && outer.gate == h.gate
	}
	return false
}

// again reports whether a failed command should be sent once more: it did not
// run, or running twice does no harm, and the connection, not the server, may
// be to blame.
func (h gateHook) again(kind class, c *call, cmds ...redis.Cmder) bool {
	if !kind.notRun() && (kind != classBroken || !idempotent(cmds...)) {
		return false
	}
	return h.gate.allow() == nil && c.Err() == nil && (c.deadline.IsZero() || time.Now().Before(c.deadline))
}

// limit is the earlier of ctx' deadline and timeout from now.
func limit(ctx context.Context, now time.Time, timeout time.Duration) time.Time {
	end := now.Add(timeout)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(end) {
		return deadline
	}
	return end
}

// blocking reports whether a command waits at the server by design, so that
// only its caller can know for how long.
func blocking(name string, cmd redis.Cmder) bool {
	switch name {
	case "blpop", "brpop", "brpoplpush", "blmove", "blmpop", "bzpopmin", "bzpopmax", "bzmpop",
		"wait", "waitaof", "monitor", "psync", "sync":
		return true
	case "xread", "xreadgroup":
		return slices.ContainsFunc(cmd.Args(), func(arg any) bool {
			s, _ := arg.(string)
			return strings.EqualFold(s, "block")
		})
	}
	return false
}

// idempotent reports whether running the commands twice leaves what running
// them once leaves. What is not listed is not repeated.
func idempotent(cmds ...redis.Cmder) bool {
	for _, cmd := range cmds {
		switch cmd.Name() {
		case "get", "mget", "del", "unlink", "exists", "touch", "type", "ttl", "pttl", "strlen", "getrange",
			"expire", "pexpire", "pexpireat", "expireat", "mset", "psetex", "setex",
			"hget", "hmget", "hgetall", "hexists", "hlen", "hkeys", "hvals", "hdel",
			"smembers", "sismember", "scard", "zscore", "zrange", "zcard",
			"scan", "dbsize", "ping", "time", "info", "cluster", "config", "script", "memory":
		case "set":
			// SET key value PX n is; with NX, GET and the like it is not.
			args := cmd.Args()
			if len(args) == 5 && (args[3] == "px" || args[3] == "ex") {
				continue
			}
			if len(args) != 3 {
				return false
			}
		default:
			return false
		}
	}
	return true
}
