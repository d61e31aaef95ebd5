package lifecycle

import (
	"log/slog"
	"time"
)

// Kubernetes holds the times of a pod that the group's own must fit. A zero
// field means the default of Kubernetes.
type Kubernetes struct {
	// ProbePeriod and FailureThreshold are those of the readiness probe
	// (periodSeconds, failureThreshold): their product is how long it takes until
	// the pod counts as not ready. The defaults are 10 seconds and 3.
	ProbePeriod      time.Duration
	FailureThreshold int

	// Propagation is how long endpoints, proxies and balancers take to learn of
	// it. The default is 2 seconds, our estimate: Kubernetes promises none.
	Propagation time.Duration

	// GracePeriod is the pod's terminationGracePeriodSeconds: the time between
	// SIGTERM, with the preStop hook before it, and SIGKILL. The default is 30
	// seconds.
	GracePeriod time.Duration

	// PreStop is how long the preStop hook takes. Endpoints are removed when it
	// begins, so it counts as drain delay; and it is taken from the grace period.
	// The default is none.
	PreStop time.Duration
}

// WithKubernetes makes Start warn in the log if the group's times do not fit
// those of its pod:
//
//   - the drain delay is shorter than ProbePeriod × FailureThreshold +
//     Propagation, so that requests may arrive when the listener is closed.
//     (A pod that is being deleted leaves the endpoints at once; the probe
//     matters for everything else that follows readiness.)
//   - the stop budget does not fit into the grace period, so that the process
//     may be killed before the stop is over.
func WithKubernetes(k Kubernetes) Option {
	return func(o *options) { o.kubernetes = &k }
}

func (k *Kubernetes) warn(l *slog.Logger, cfg Config, drainDelay time.Duration) {
	if k == nil {
		return
	}
	period, threshold, propagation, graceful := k.ProbePeriod, k.FailureThreshold, k.Propagation, k.GracePeriod
	if period == 0 {
		period = 10 * time.Second
	}
	if threshold == 0 {
		threshold = 3
	}
	if propagation == 0 {
		propagation = 2 * time.Second
	}
	if graceful == 0 {
		graceful = 30 * time.Second
	}
	if noticed := period*time.Duration(threshold) + propagation; drainDelay+k.PreStop < noticed {
		l.Warn("drain delay is shorter than the time in which balancers notice",
			"drain_delay", drainDelay, "pre_stop", k.PreStop, "needed", noticed,
			"advice", "shorten periodSeconds or failureThreshold of the readiness probe, or lengthen the delay")
	}
	if cfg.StopBudget < 0 || cfg.StopBudget+k.PreStop >= graceful {
		l.Warn("stop budget does not fit into the grace period",
			"stop_budget", cfg.StopBudget, "pre_stop", k.PreStop, "grace_period", graceful,
			"advice", "lengthen terminationGracePeriodSeconds or shorten Config.StopBudget")
	}
}
