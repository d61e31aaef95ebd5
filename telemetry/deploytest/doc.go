// Package deploytest holds what is in deploy/ against reality: dashboard and
// alerts run in a real Prometheus that scrapes a real service on real servers,
// and the times of the manifests are checked against those of the packages.
//
// It has tests only.
package deploytest
