// Package e2e looks at the clinic as a person does: with a browser. It is a
// module of its own, so that the driver of the browser stays out of the
// library's requirements.
//
// The screenshots are in the directory artifacts at the root of the repository.
package e2e
