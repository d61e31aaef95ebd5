package lifecycle

import (
	"fmt"
	"slices"
	"strings"
)

// resolve returns, for each member, the indexes of those that it starts after.
// A member without After comes after all that were added before it; it is
// enough to name those of them that nobody before it comes after.
func resolve(members []*member) ([][]int, error) {
	index := make(map[string]int, len(members))
	for i, m := range members {
		index[m.name] = i
	}
	deps := make([][]int, len(members))
	covered := make([]bool, len(members)) // somebody added so far comes after it
	for i, m := range members {
		if m.opts.after == nil {
			for j := range i {
				if !covered[j] {
					deps[i] = append(deps[i], j)
				}
			}
		}
		for _, name := range m.opts.after {
			j, ok := index[name]
			if !ok {
				return nil, fmt.Errorf("%w: %s comes after %q, which was not added", ErrInvalidOrder, m.name, name)
			}
			deps[i] = append(deps[i], j)
		}
		for _, j := range deps[i] {
			if j < i {
				covered[j] = true
			}
		}
	}
	if cycle := findCycle(deps); cycle != nil {
		names := make([]string, len(cycle))
		for k, i := range cycle {
			names[k] = members[i].name
		}
		return nil, fmt.Errorf("%w: a cycle: %s", ErrInvalidOrder, strings.Join(names, " after "))
	}
	return deps, nil
}

// findCycle returns the members of a cycle, the first one again at the end, or
// nil.
func findCycle(deps [][]int) []int {
	const unseen, open, done = 0, 1, 2
	state := make([]int, len(deps))
	var path []int
	var visit func(i int) []int
	visit = func(i int) []int {
		switch state[i] {
		case done:
			return nil
		case open:
			return append(slices.Clone(path[slices.Index(path, i):]), i)
		}
		state[i] = open
		path = append(path, i)
		for _, j := range deps[i] {
			if cycle := visit(j); cycle != nil {
				return cycle
			}
		}
		path = path[:len(path)-1]
		state[i] = done
		return nil
	}
	for i := range deps {
		if cycle := visit(i); cycle != nil {
			return cycle
		}
	}
	return nil
}

// reverse turns "starts after" into "stops after".
func reverse(deps [][]int) [][]int {
	back := make([][]int, len(deps))
	for i, list := range deps {
		for _, j := range list {
			back[j] = append(back[j], i)
		}
	}
	return back
}

// walk calls visit once for each index, on goroutines of their own, each after
// the visits of all its deps have returned. When a visit returns false no
// further ones are begun. It returns when all that were begun have returned.
func walk(deps [][]int, visit func(i int) bool) {
	waiting := make([]int, len(deps)) // how many deps are not done
	next := reverse(deps)
	results := make(chan struct {
		i  int
		ok bool
	})
	running, ok := 0, true
	begin := func(i int) {
		running++
		go func() {
			result := visit(i)
			results <- struct {
				i  int
				ok bool
			}{i, result}
		}()
	}
	for i, list := range deps {
		waiting[i] = len(list)
	}
	for i := range deps {
		if waiting[i] == 0 {
			begin(i)
		}
	}
	for running > 0 {
		done := <-results
		running--
		ok = ok && done.ok
		if !ok {
			continue
		}
		for _, j := range next[done.i] {
			if waiting[j]--; waiting[j] == 0 {
				begin(j)
			}
		}
	}
}
