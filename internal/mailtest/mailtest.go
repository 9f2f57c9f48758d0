// Package mailtest is a mail server for tests. It takes mail over real connections as RFC 5321 says
// and keeps it; it delivers nothing. Mailboxes with "nobody" in their address do not exist.
package mailtest

import (
	"context"
	"net"
	"net/textproto"
	"strings"
	"testing"
)

// Serve starts a server that ends with the test. What it takes comes out of the channel, which holds
// a hundred mails.
func Serve(t testing.TB) (address string, mails <-chan string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	taken := make(chan string, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // the test is over
			}
			take(textproto.NewConn(conn), taken)
		}
	}()
	return l.Addr().String(), taken
}

// take speaks with one client until it quits or goes away.
func take(c *textproto.Conn, mails chan<- string) {
	defer c.Close()
	line, err := "", c.PrintfLine("220 mail.test ESMTP")
	for err == nil {
		if line, err = c.ReadLine(); err != nil {
			return
		}
		switch verb := strings.ToUpper(line); {
		case strings.HasPrefix(verb, "EHLO"):
			err = c.PrintfLine("250-mail.test\r\n250 AUTH PLAIN")
		case strings.HasPrefix(verb, "RCPT") && strings.Contains(line, "nobody"):
			err = c.PrintfLine("550 no such mailbox")
		case strings.HasPrefix(verb, "AUTH"):
			err = c.PrintfLine("235 welcome")
		case verb == "DATA":
			err = data(c, mails)
		case verb == "QUIT":
			_ = c.PrintfLine("221 bye") // it may be gone already
			return
		default:
			err = c.PrintfLine("250 fine")
		}
	}
}

func data(c *textproto.Conn, mails chan<- string) error {
	if err := c.PrintfLine("354 go ahead"); err != nil {
		return err
	}
	text, err := c.ReadDotBytes()
	if err != nil {
		return err
	}
	mails <- string(text)
	return c.PrintfLine("250 taken")
}
