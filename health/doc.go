// Package health tells the platform, programs and people how a service is,
// cheaply and without giving secrets away.
//
// Checks run in the background; a request reads the last results and touches
// nothing else, however many come and however long a dependency hangs.
//
//	checks, err := health.New(health.Config{})
//	if err != nil {
//		return err
//	}
//	checks.Add("postgres", pool.Ping, health.Details(func() any { return pool.Stats() }))
//	checks.Add("redis", cache.Ping, health.Optional())
//	mux.Handle("/api/health/", health.Handler(checks)) // or any router's mount
//	// … checks.Start(ctx), or add it to a lifecycle.Group
//
// # Endpoints
//
// Below wherever [Handler] is mounted:
//
//	(nothing)   the verdict and each check's state    200, or 503 when it is fail
//	/live       shall the process be restarted?       200 or 503; depends on nothing outside it
//	/ready      shall it get requests?                200 or 503
//	/startup    has it started?                       200 or 503
//	/detailed   everything that is known              always 200: it decides nothing
//
// A check's name below a path asks for that check alone, as in /ready/postgres.
// ?exclude=redis leaves checks out, ?verbose lists them as text, and ?format=
// (json, health, text, html) chooses a form in spite of the Accept header:
// browsers get a page, programs JSON, or application/health+json
// (draft-inadarei-api-health-check-06) if they ask for it.
//
// # States
//
// A check is pass, warn or fail. A required check that fails makes the service
// not ready; an [Optional] one warns. A check can say itself that something is
// wrong but bearable, by returning [Degraded]. A check that has never succeeded
// fails, and so does a required one whose result is out of date.
//
// # Failure
//
// A check has a time limit, by default shorter than the kubelet's of one
// second. One that ignores it counts as timed out at the limit and is not
// started again until it has returned: a check that hangs for ever costs one
// goroutine. A panic is a failure, and its stack goes to the log. So is one in
// the methods of the error that a check returns.
//
// # Privacy
//
// What is shown is decided for each request: [LevelNothing], [LevelStates] or
// [LevelEverything]. Without [WithLevel] everybody gets states and the classes
// of errors ("connection refused"). Messages, details and advice are for those
// whom the host lets see everything.
//
// # Concurrency
//
// All methods of [Checker] are safe for concurrent use, at any time.
//
// # What the package does not do
//
// It imports no other package of this module and knows neither pools nor
// caches: the host hands it functions. It has no script on its page, keeps no
// history beyond the last minutes, and exports no metrics; [WithObserver] is the
// seam for those.
package health
