package httpauth

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-krb5/krb5/config"
	"github.com/go-krb5/krb5/credentials"
	"github.com/go-krb5/krb5/crypto"
	"github.com/go-krb5/krb5/iana/errorcode"
	"github.com/go-krb5/krb5/iana/etypeID"
	"github.com/go-krb5/krb5/iana/keyusage"
	"github.com/go-krb5/krb5/iana/nametype"
	"github.com/go-krb5/krb5/iana/patype"
	"github.com/go-krb5/krb5/keytab"
	"github.com/go-krb5/krb5/messages"
	"github.com/go-krb5/krb5/types"
)

// Bounds of what a KDC may ask of this program.
const (
	kdcTimeout   = 5 * time.Second // for each server
	maxKDCs      = 4
	maxKDCAnswer = 1 << 20 // bytes; tickets of people in many groups reach 64 KiB
	maxReferrals = 5
)

// kdc speaks to the key distribution centers of realms (RFC 4120), over TCP only. The library's own client does that as
// well, but it allocates what the other side announces, takes no context, renews in the background, and parses there what
// may make it panic.
type kdc struct {
	cfg  *config.Config
	send func(ctx context.Context, address string, message []byte) ([]byte, error)
}

// ticket is a service ticket, and whose it is.
type ticket struct {
	client     principal
	ticket     messages.Ticket
	key        types.EncryptionKey
	start, end time.Time
}

// kdcError is the word of a KDC.
type kdcError struct {
	code int32
	what string
}

func (e *kdcError) Error() string {
	return fmt.Sprintf("%s: the KDC says %s", e.what, errorcode.Lookup(e.code))
}

// Unauthorized tells sources that the credential is the cause.
func (e *kdcError) Unauthorized() bool { return refusesCredential(e.code) }

// Temporary tells sources that it may pass.
func (e *kdcError) Temporary() bool {
	return e.code == errorcode.KDC_ERR_SVC_UNAVAILABLE || e.code == errorcode.KRB_AP_ERR_SKEW
}

// Hint says what to do.
func (e *kdcError) Hint() string {
	switch e.code {
	case errorcode.KDC_ERR_PREAUTH_FAILED, errorcode.KDC_ERR_KEY_EXPIRED:
		return "the keytab does not hold the account's current key; make it again after a password change"
	case errorcode.KDC_ERR_C_PRINCIPAL_UNKNOWN, errorcode.KDC_ERR_WRONG_REALM:
		return "check exchange.auth.username: name@REALM, the realm in capitals"
	case errorcode.KDC_ERR_CLIENT_REVOKED:
		return "the account is locked or disabled"
	case errorcode.KDC_ERR_S_PRINCIPAL_UNKNOWN:
		return "the server's name is not registered as a service; register HTTP/HOST with setspn, or name the registered one in exchange.auth.service_principal"
	case errorcode.KRB_AP_ERR_SKEW:
		return "set the clock of this machine right"
	case errorcode.KDC_ERR_ETYPE_NOSUPP:
		return "let the account use AES, and make the keytab again"
	}
	return "check exchange.auth and krb5.conf"
}

// refusesCredential tells whether a code counts towards a lock-out, or says that there is one.
func refusesCredential(code int32) bool {
	return slices.Contains([]int32{errorcode.KDC_ERR_PREAUTH_FAILED, errorcode.KDC_ERR_CLIENT_REVOKED,
		errorcode.KDC_ERR_KEY_EXPIRED, errorcode.KDC_ERR_C_PRINCIPAL_UNKNOWN}, code)
}

// strongTypes are the encryption types asked for when krb5.conf names none: AES of RFC 3962 and RFC 8009. RC4 and triple
// DES are used only when krb5.conf names them.
func strongTypes() []int32 {
	return []int32{etypeID.AES256_CTS_HMAC_SHA1_96, etypeID.AES128_CTS_HMAC_SHA1_96, etypeID.AES256_CTS_HMAC_SHA384_192, etypeID.AES128_CTS_HMAC_SHA256_128}
}

// newKDC makes a client; what is asked of a KDC follows the configuration.
func newKDC(cfg *config.Config) *kdc {
	c := *cfg
	usual := config.New().LibDefaults
	if slices.Equal(c.LibDefaults.DefaultTktEnctypeIDs, usual.DefaultTktEnctypeIDs) {
		c.LibDefaults.DefaultTktEnctypeIDs = strongTypes()
	}
	if slices.Equal(c.LibDefaults.DefaultTGSEnctypeIDs, usual.DefaultTGSEnctypeIDs) {
		c.LibDefaults.DefaultTGSEnctypeIDs = strongTypes()
	}
	c.LibDefaults.Forwardable, c.LibDefaults.Proxiable, c.LibDefaults.RenewLifetime = false, false, 0
	return &kdc{&c, exchange}
}

// login gets a ticket-granting ticket with a key of a keytab (RFC 4120 section 3.1).
func (k *kdc) login(ctx context.Context, who principal, keys *keytab.Keytab) (t *ticket, err error) {
	what := fmt.Sprintf("sign in as %s", who)
	return t, guarded(func() error {
		req, err := messages.NewASReqForTGT(who.realm, k.cfg, who.name)
		if err != nil {
			return err
		}
		req.ReqBody.EType = keyTypes(req.ReqBody.EType, who, keys)
		if len(req.ReqBody.EType) == 0 {
			return fmt.Errorf("%s: the keytab has no AES key of that principal; check exchange.auth.username and the keytab (klist -ke)", what)
		}
		b, err := req.Marshal()
		if err != nil {
			return err
		}
		answer, err := k.ask(ctx, who.realm, what, b)
		var refusal *refusalOfKDC
		if errors.As(err, &refusal) && refusal.ErrorCode == errorcode.KDC_ERR_PREAUTH_REQUIRED {
			if b, err = prove(&req, who, keys, refusal.EData); err == nil {
				answer, err = k.ask(ctx, who.realm, what, b)
			}
		}
		if err != nil {
			return err
		}
		var rep messages.ASRep
		if err := rep.Unmarshal(answer); err != nil {
			return fmt.Errorf("%s: %w", what, errDamaged)
		}
		creds := credentials.NewFromPrincipalName(who.name, who.realm).WithKeytab(keys)
		if ok, err := rep.Verify(k.cfg, creds, req); !ok {
			return fmt.Errorf("%s: the answer of the KDC does not verify: %w", what, err)
		}
		t = newTicket(who, rep.KDCRepFields)
		return nil
	})
}

// keyTypes are those types for which the keytab has a key.
func keyTypes(types []int32, who principal, keys *keytab.Keytab) []int32 {
	return slices.DeleteFunc(slices.Clone(types), func(e int32) bool {
		_, _, err := keys.GetEncryptionKey(who.name, who.realm, 0, e)
		return err != nil
	})
}

// prove adds the encrypted time (RFC 4120 section 5.2.7.2), with the first key that the KDC names and the keytab has.
func prove(req *messages.ASReq, who principal, keys *keytab.Keytab, hints []byte) ([]byte, error) {
	var data types.PADataSequence
	if err := data.Unmarshal(hints); err != nil {
		return nil, errDamaged
	}
	choice := req.ReqBody.EType[0]
	for _, pa := range data {
		if pa.PADataType != patype.PA_ETYPE_INFO2 {
			continue
		}
		infos, err := pa.GetETypeInfo2()
		if err != nil {
			return nil, errDamaged
		}
		if i := slices.IndexFunc(infos, func(e types.ETypeInfo2Entry) bool { return slices.Contains(req.ReqBody.EType, e.EType) }); i >= 0 {
			choice = infos[i].EType
		}
	}
	key, version, err := keys.GetEncryptionKey(who.name, who.realm, 0, choice)
	if err != nil {
		return nil, err
	}
	stamp, err := types.GetPAEncTSEncAsnMarshalled()
	if err != nil {
		return nil, err
	}
	sealed, err := crypto.GetEncryptedData(stamp, key, keyusage.AS_REQ_PA_ENC_TIMESTAMP, version)
	if err != nil {
		return nil, err
	}
	value, err := sealed.Marshal()
	if err != nil {
		return nil, err
	}
	req.PAData = append(req.PAData, types.PAData{PADataType: patype.PA_ENC_TIMESTAMP, PADataValue: value})
	return req.Marshal()
}

// service gets a ticket for a service with a ticket-granting ticket (RFC 4120 section 3.3), over referrals to other
// realms (RFC 6806 section 8).
func (k *kdc) service(ctx context.Context, tgt *ticket, spn types.PrincipalName) (t *ticket, err error) {
	what := "get a ticket for " + spn.PrincipalNameString()
	cfg := *k.cfg
	cfg.LibDefaults.Canonicalize = true // asks for referrals
	wanted, realm := spn, tgt.client.realm
	if mapped := cfg.ResolveRealm(spn.NameString[len(spn.NameString)-1]); mapped != "" && mapped != realm {
		wanted = ticketGranting(mapped)
	}
	return t, guarded(func() error {
		for range maxReferrals {
			req, err := messages.NewTGSReq(tgt.client.name, tgt.client.realm, realm, &cfg, tgt.ticket, tgt.key, wanted, false)
			if err != nil {
				return err
			}
			b, err := req.Marshal()
			if err != nil {
				return err
			}
			answer, err := k.ask(ctx, realm, what, b)
			if err != nil {
				return err
			}
			var rep messages.TGSRep
			if rep.Unmarshal(answer) != nil || rep.DecryptEncPart(tgt.key) != nil || len(rep.Ticket.SName.NameString) < 1 {
				return fmt.Errorf("%s: %w", what, errDamaged)
			}
			if ok, err := rep.Verify(&cfg, req); !ok {
				return fmt.Errorf("%s: the answer of the KDC does not verify: %w", what, err)
			}
			got := newTicket(tgt.client, rep.KDCRepFields)
			name := rep.Ticket.SName.NameString
			if name[0] != "krbtgt" {
				t = got
				return nil
			}
			tgt, realm, wanted = got, name[len(name)-1], spn
		}
		return fmt.Errorf("%s: more than %d referrals from realm to realm", what, maxReferrals)
	})
}

func newTicket(who principal, rep messages.KDCRepFields) *ticket {
	d := rep.DecryptedEncPart
	if d.StartTime.IsZero() {
		d.StartTime = d.AuthTime
	}
	return &ticket{client: who, ticket: rep.Ticket, key: d.Key, start: d.StartTime, end: d.EndTime}
}

func ticketGranting(realm string) types.PrincipalName {
	return types.PrincipalName{NameType: nametype.KRB_NT_SRV_INST, NameString: []string{"krbtgt", realm}}
}

// refusalOfKDC is the KRB-ERROR beneath a kdcError.
type refusalOfKDC struct {
	kdcError
	messages.KRBError
}

func (e *refusalOfKDC) Error() string { return e.kdcError.Error() }
func (e *refusalOfKDC) Unwrap() error { return &e.kdcError }

// ask sends a message to the KDCs of a realm, one after the other until one answers.
func (k *kdc) ask(ctx context.Context, realm, what string, message []byte) ([]byte, error) {
	addresses, err := k.addresses(ctx, realm)
	if err != nil {
		return nil, fmt.Errorf("%s: find a KDC of %s: %w", what, realm, err)
	}
	var errs []error
	for _, a := range addresses[:min(len(addresses), maxKDCs)] {
		answer, err := k.send(ctx, a, message)
		if err != nil {
			errs = append(errs, fmt.Errorf("KDC %s: %w", a, err))
			continue
		}
		var e messages.KRBError
		if e.Unmarshal(answer) == nil {
			return nil, &refusalOfKDC{kdcError{e.ErrorCode, what}, e}
		}
		return answer, nil
	}
	return nil, &unreachable{fmt.Errorf("%s: no KDC of %s answers: %w", what, realm, errors.Join(errs...))}
}

// unreachable is trouble on the way to a KDC. It does not unwrap: a refused connection beneath it would be taken for one
// of Exchange.
type unreachable struct{ error }

func (*unreachable) Temporary() bool { return true }
func (*unreachable) Hint() string {
	return "check the realm in krb5.conf, and that its KDC can be reached over TCP"
}

// addresses lists the KDCs of krb5.conf, else those of DNS.
func (k *kdc) addresses(ctx context.Context, realm string) ([]string, error) {
	for _, r := range k.cfg.Realms {
		if r.Realm == realm && len(r.KDC) > 0 {
			return r.KDC, nil
		}
	}
	if !k.cfg.LibDefaults.DNSLookupKDC {
		return nil, errors.New("krb5.conf names none, and switches the look-up in DNS off")
	}
	_, records, err := net.DefaultResolver.LookupSRV(ctx, "kerberos", "tcp", realm)
	if err != nil {
		return nil, &unreachable{err}
	}
	var found []string
	for _, r := range records {
		found = append(found, net.JoinHostPort(strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port))))
	}
	return found, nil
}

// exchange sends one message over TCP (RFC 4120 section 7.2.2).
func exchange(ctx context.Context, address string, message []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, kdcTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...)); err != nil {
		return nil, err
	}
	var length [4]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxKDCAnswer {
		return nil, fmt.Errorf("an answer of %d bytes", n)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, int64(n)))
	if err == nil && len(answer) < int(n) {
		err = io.ErrUnexpectedEOF
	}
	return answer, err
}
