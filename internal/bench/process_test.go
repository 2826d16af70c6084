package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// usage is what a process needed.
type usage struct {
	wall, cpu time.Duration
	// anon is the peak of RssAnon, hwm that of all resident memory, files included; written is what went to block
	// devices (write_bytes of proc(5)). In bytes.
	anon, hwm, written int64
	output             []byte
}

// run runs a program to its end under watch. A program that fails ends the benchmark.
func run(b *testing.B, env []string, program string, args ...string) usage {
	b.Helper()
	r, w, err := os.Pipe()
	check(b, err)
	defer r.Close()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = w, w
	began := time.Now()
	err = cmd.Start()
	w.Close()
	check(b, err)
	memory := watch(cmd.Process.Pid)
	output, err := io.ReadAll(r) // ends when the process closed its end, that is, at its end
	u := usage{wall: time.Since(began), output: output}
	u.anon, u.hwm = memory.stop()
	// It was not waited for, so its figures are still there.
	u.written = field(cmd.Process.Pid, "io", "write_bytes:")
	if err = errors.Join(err, cmd.Wait()); err != nil {
		b.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, output)
	}
	u.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return u
}

// field reads a number of /proc/PID/file, in bytes; 0 when it cannot be read.
func field(pid int, file, name string) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0
	}
	return number(data, name)
}

func number(data []byte, name string) int64 {
	_, rest, ok := bytes.Cut(data, []byte("\n"+name))
	if !ok {
		return 0
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	fields := strings.Fields(string(line))
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(fields[0], 10, 64)
	if len(fields) > 1 && fields[1] == "kB" {
		n <<= 10
	}
	return n
}

// memory samples the resident memory of a process.
type memory struct {
	pid       int
	anon, hwm atomic.Int64
	ended     chan struct{}
	done      chan struct{}
}

const sampleEvery = 2 * time.Millisecond

func watch(pid int) *memory {
	m := &memory{pid: pid, ended: make(chan struct{}), done: make(chan struct{})}
	m.sample()
	go func() {
		defer close(m.done)
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			select {
			case <-m.ended:
				return
			case <-tick.C:
				m.sample()
			}
		}
	}()
	return m
}

func (m *memory) sample() {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.pid))
	if err != nil {
		return
	}
	m.anon.Store(max(m.anon.Load(), number(data, "RssAnon:")))
	m.hwm.Store(max(m.hwm.Load(), number(data, "VmHWM:")))
}

// stop returns the peaks.
func (m *memory) stop() (anon, hwm int64) {
	close(m.ended)
	<-m.done
	return m.anon.Load(), m.hwm.Load()
}

// processorTime is what all threads of a process that runs have used.
func processorTime(pid int) time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	var ticks int64
	for _, f := range fields[11:13] { // utime and stime
		n, _ := strconv.ParseInt(f, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100) // USER_HZ is 100 on Linux
}
