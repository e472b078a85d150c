package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// A front that speaks TLS for the Placement Driver and for the store, as neither can
// have it here: unistore knows no TLS, and reaches the Placement Driver without. What
// begins with a TLS handshake must show a client's certificate and is decrypted; what
// does not is passed on as it is.

const tlsHandshake = 0x16

// serveTLS makes certificates in dir if there are none, and serves listen in front of
// target.
func serveTLS(dir, listen, target string) {
	if _, err := os.Stat(filepath.Join(dir, "ca.pem")); err != nil {
		must(os.MkdirAll(dir, 0o755))
		makeCertificates(dir)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	must(err)
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(ca)
	own, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key"))
	must(err)
	config := &tls.Config{
		Certificates: []tls.Certificate{own},
		ClientCAs:    clients,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		NextProtos:   []string{"h2"},
	}
	l, err := net.Listen("tcp", listen)
	must(err)
	fmt.Println("READY", listen)
	for {
		c, err := l.Accept()
		must(err)
		go front(c, target, config)
	}
}

func front(c net.Conn, target string, config *tls.Config) {
	defer c.Close()
	r := bufio.NewReader(c)
	first, err := r.Peek(1)
	if err != nil {
		return
	}
	var client net.Conn = peeked{c, r}
	if first[0] == tlsHandshake {
		client = tls.Server(client, config)
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		io.Copy(server, client)
		server.Close()
	}()
	io.Copy(client, server)
}

// peeked is a connection of which something was looked at already.
type peeked struct {
	net.Conn
	r *bufio.Reader
}

func (p peeked) Read(b []byte) (int, error) { return p.r.Read(b) }

// makeCertificates: an authority, a server and a client that it signed, and a stranger
// whom another authority signed.
func makeCertificates(dir string) {
	ca, caKey := certificate(dir, "ca", nil, nil)
	certificate(dir, "server", ca, caKey)
	certificate(dir, "client", ca, caKey)
	other, otherKey := certificate(dir, "other-ca", nil, nil)
	certificate(dir, "stranger", other, otherKey)
}

func certificate(dir, name string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	must(err)
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "tidegate test " + name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * 365 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if parent == nil {
		template.IsCA, template.BasicConstraintsValid = true, true
		template.KeyUsage = x509.KeyUsageCertSign
		template.ExtKeyUsage, template.IPAddresses = nil, nil
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	must(err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	write(filepath.Join(dir, name+".pem"), "CERTIFICATE", der)
	write(filepath.Join(dir, name+".key"), "PRIVATE KEY", keyDER)
	made, err := x509.ParseCertificate(der)
	must(err)
	return made, key
}

func write(path, kind string, der []byte) {
	must(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}
