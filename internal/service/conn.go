package service

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"
)

// gate counts what each uid, and all together, have under way.
type gate struct {
	perUID, overall int

	mu    sync.Mutex
	total int
	byUID map[uint32]int
}

func newGate(perUID, overall int) *gate {
	return &gate{perUID: perUID, overall: overall, byUID: make(map[uint32]int)}
}

// enter returns how to leave again, or false when the gate is full for this uid.
func (g *gate) enter(uid uint32) (leave func(), ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.total >= g.overall || g.byUID[uid] >= g.perUID {
		return nil, false
	}
	g.total++
	g.byUID[uid]++
	return sync.OnceFunc(func() { g.leave(uid) }), true
}

func (g *gate) leave(uid uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if g.byUID[uid]--; g.byUID[uid] == 0 {
		delete(g.byUID, uid)
	}
}

// peerListener accepts connections of peers that the kernel names, a bounded number of each uid.
type peerListener struct {
	net.Listener
	server *Server
	close  func() error // once
}

func (l *peerListener) Close() error { return l.close() }

func (l *peerListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		identified, err := l.identify(conn)
		if err == nil {
			return identified, nil
		}
		l.server.log().Debug("connection refused", "reason", err)
		_ = conn.Close()
	}
}

func (l *peerListener) identify(conn net.Conn) (*peerConn, error) {
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.New("not a Unix socket")
	}
	credentials := l.server.credentials
	if credentials == nil {
		credentials = peerCredentials
	}
	peer, err := credentials(uc)
	if err != nil {
		return nil, err
	}
	leave, ok := l.server.start().conns.enter(peer.UID)
	if !ok {
		return nil, errors.New("too many connections")
	}
	waiting := &l.server.start().waiting
	waiting.Add(1)
	return &peerConn{UnixConn: uc, peer: peer, leave: leave, begin: sync.OnceFunc(func() { waiting.Add(-1) })}, nil
}

// peerConn is a connection whose peer is known.
type peerConn struct {
	*net.UnixConn
	peer  Peer
	leave func()
	begin func() // its first request is being read
}

// noteRequest is the http.Server's hook for the state of a connection.
func noteRequest(conn net.Conn, state http.ConnState) {
	if c, ok := conn.(*peerConn); ok && state != http.StateNew {
		c.begin()
	}
}

func (c *peerConn) Close() error {
	c.leave()
	c.begin()
	return c.UnixConn.Close()
}

// peerCredentials asks the kernel who connected.
func peerCredentials(conn *net.UnixConn) (Peer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var cred *syscall.Ucred
	var failure error
	err = raw.Control(func(fd uintptr) {
		cred, failure = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err = errors.Join(err, failure); err != nil {
		return Peer{}, err
	}
	return Peer{UID: cred.Uid, GID: cred.Gid, PID: cred.Pid}, nil
}

type peerKey struct{}

// connContext lets requests find their peer.
func connContext(ctx context.Context, conn net.Conn) context.Context {
	if c, ok := conn.(*peerConn); ok {
		return context.WithValue(ctx, peerKey{}, c.peer)
	}
	return ctx
}
