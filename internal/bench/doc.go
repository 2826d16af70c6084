// Package bench measures the programs as they are used: galsyncd as a process of its own, against the Exchange stand-in
// and over its socket, next to what other programs need for the same work in the same run. It holds benchmarks only; run
// them with make bench.
//
// Every figure is the median of its rounds, and the programs that are compared take turns within a round, so that a busy
// machine slows all of them alike. Nothing here fails because a machine is slow.
package bench
