package worker

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"html/template"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// MailServer is where mail is handed in.
type MailServer struct {
	Address  string // host:port
	TLS      bool   // from the first byte; otherwise STARTTLS where the server offers it
	User     string // "": the server asks for no password
	Password string
	From     mail.Address
}

// ParseMailServer reads smtp://user@host:port or smtps://user@host:port, the sender's address and a
// password. Ports are 587 and 465 by default.
func ParseMailServer(address, from, password string) (s MailServer, err error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "smtp" && u.Scheme != "smtps" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return s, errors.New("the mail server is not smtp://user@host:port or smtps://user@host:port")
	}
	if _, ok := u.User.Password(); ok {
		return s, errors.New("the mail server's password does not belong into its URL: give it as SLIPWAY_SMTP_PASSWORD")
	}
	sender, err := mail.ParseAddress(from)
	if err != nil {
		return s, errors.New("the sender of mail (--mail-from) is not an address such as ci@example.com")
	}
	s = MailServer{TLS: u.Scheme == "smtps", User: u.User.Username(), Password: password, From: *sender}
	port := u.Port()
	if port == "" {
		port = map[bool]string{false: "587", true: "465"}[s.TLS]
	}
	s.Address = net.JoinHostPort(u.Hostname(), port)
	return s, nil
}

// Mail sends mail about builds. What is about one build is one thread in a reader.
type Mail struct {
	Engine  *engine.Engine
	Server  MailServer
	BaseURL string
}

// Deliver sends what a notice says. A mail that is sent twice, because the server died behind the
// first, has the same Message-ID both times.
func (d *Mail) Deliver(ctx context.Context, e store.Effect) error {
	n, err := engine.ReadNotice(e)
	if err != nil {
		return err
	}
	to, err := mail.ParseAddress(n.Notification.To)
	if err != nil {
		return permanent{errors.New("the notification's address is none")}
	}
	m, err := messageOf(ctx, d.Engine.Store, d.BaseURL, n)
	if err != nil {
		return err
	}
	body, err := d.compose(e, *to, m)
	if err != nil {
		return err
	}
	return d.Server.send(ctx, to.Address, body)
}

// compose writes the mail (RFC 5322, RFC 2045) with a text and the same as HTML.
func (d *Mail) compose(e store.Effect, to mail.Address, m message) ([]byte, error) {
	host := "slipway"
	if u, err := url.Parse(d.BaseURL); err == nil && u.Hostname() != "" {
		host = u.Hostname()
	}
	subject := fmt.Sprintf("[%s] %s (%s)", m.pipeline.Slug, m.subject(), m.build.Branch)
	if line := m.headline(); line != "" {
		subject += ": " + line
	}
	var out bytes.Buffer
	parts := multipart.NewWriter(&out)
	for _, h := range [][2]string{
		{"From", d.Server.From.String()},
		{"To", to.String()},
		{"Subject", mime.QEncoding.Encode("utf-8", oneLine(truncate(subject, 300)))},
		{"Date", e.CreatedAt.Format(time.RFC1123Z)},
		{"Message-ID", fmt.Sprintf("<%s@%s>", e.ID, host)},
		{"In-Reply-To", fmt.Sprintf("<build.%s@%s>", m.build.ID, host)},
		{"References", fmt.Sprintf("<build.%s@%s>", m.build.ID, host)},
		{"List-Id", fmt.Sprintf("%s/%s <%s.%s.%s>", m.org.Slug, m.pipeline.Slug, m.pipeline.Slug, m.org.Slug, host)},
		{"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "multipart/alternative; boundary=" + parts.Boundary()},
	} {
		fmt.Fprintf(&out, "%s: %s\r\n", h[0], h[1])
	}
	out.WriteString("\r\n")
	var html bytes.Buffer
	if err := mailPage.Execute(&html, viewOf(m)); err != nil {
		return nil, err
	}
	err := errors.Join(
		part(parts, "text/plain; charset=utf-8", mailText(m)),
		part(parts, "text/html; charset=utf-8", html.String()),
		parts.Close(),
	)
	return out.Bytes(), err
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func part(w *multipart.Writer, contentType, text string) error {
	p, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {contentType}, "Content-Transfer-Encoding": {"quoted-printable"}})
	if err != nil {
		return err
	}
	q := quotedprintable.NewWriter(p)
	_, err = io.WriteString(q, text)
	return errors.Join(err, q.Close())
}

func mailText(m message) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\n", m.pipeline.Name, m.subject())
	if line := m.headline(); line != "" {
		fmt.Fprintf(&b, "%s\n\n", line)
	}
	fmt.Fprintf(&b, "Branch: %s\nCommit: %s\n", m.build.Branch, m.build.Commit)
	if a := m.author(); a != "" {
		fmt.Fprintf(&b, "Author: %s\n", a)
	}
	fmt.Fprintf(&b, "\n%s\n", m.url)
	return b.String()
}

// mailView is what the HTML of a mail shows.
type mailView struct {
	Pipeline, Subject, Headline, Branch, Commit, Author, URL string
	Color                                                    template.CSS
}

func viewOf(m message) mailView {
	return mailView{
		Pipeline: m.pipeline.Name, Subject: m.subject(), Headline: m.headline(), Branch: m.build.Branch,
		Commit: m.shortCommit(), Author: m.author(), URL: m.url, Color: template.CSS(m.color()),
	}
}

// mailPage has its styles inline: readers of mail drop all others.
var mailPage = template.Must(template.New("mail").Parse(`<!doctype html>
<html><body style="margin:0;padding:24px;background:#f4f5f7;font-family:-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;color:#1c2330">
<div style="max-width:560px;margin:0 auto;background:#fff;border:1px solid #dfe3ea;border-left:4px solid {{.Color}};border-radius:6px;padding:20px 24px">
<p style="margin:0 0 4px;font-size:13px;color:#5b6577">{{.Pipeline}}</p>
<h1 style="margin:0 0 12px;font-size:18px;line-height:1.3"><a href="{{.URL}}" style="color:{{.Color}};text-decoration:none">{{.Subject}}</a></h1>
{{with .Headline}}<p style="margin:0 0 12px;font-size:15px">{{.}}</p>{{end}}
<p style="margin:0 0 16px;font-size:13px;color:#5b6577">{{.Branch}} · <code>{{.Commit}}</code>{{with .Author}} · {{.}}{{end}}</p>
<p style="margin:0"><a href="{{.URL}}" style="font-size:14px;color:#2451b3">View the build</a></p>
</div></body></html>
`))

// send hands a mail in. An answer that will be the same next time is permanent.
func (s MailServer) send(ctx context.Context, to string, body []byte) error {
	err := s.handIn(ctx, to, body)
	if e, ok := errors.AsType[*textproto.Error](err); ok && e.Code >= 500 {
		return permanent{fmt.Errorf("mail server %s: %w", s.Address, err)}
	}
	if err != nil {
		return fmt.Errorf("mail server %s: %w", s.Address, err)
	}
	return nil
}

func (s MailServer) handIn(ctx context.Context, to string, body []byte) error {
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if s.User != "" {
		host, _, _ := net.SplitHostPort(s.Address)
		// It refuses to send the password without TLS, but to this machine itself.
		if err := c.Auth(smtp.PlainAuth("", s.User, s.Password, host)); err != nil {
			return err
		}
	}
	if err := c.Mail(s.From.Address); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(body); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_ = c.Quit() // the mail has been taken
	return nil
}

// dial connects within the context's time, and no later step outlives it.
func (s MailServer) dial(ctx context.Context) (*smtp.Client, error) {
	host, _, err := net.SplitHostPort(s.Address)
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if s.TLS {
		conn = tls.Client(conn, config)
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if ok, _ := c.Extension("STARTTLS"); ok && !s.TLS {
		if err := c.StartTLS(config); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}
