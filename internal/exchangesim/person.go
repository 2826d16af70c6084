package exchangesim

// Person is one entry of the address book: a person, a shared mailbox, an external contact or a group.
type Person struct {
	// Primary is the primary SMTP address as it is spelled on the wire.
	Primary string
	// Proxies are the other SMTP addresses, in the order in which the server lists them. It lists no more than two of
	// them; the rest is found by searching with "smtp:" all the same.
	Proxies []string
	// DisplayName, GivenName, Surname, Alias and Office are searched without "smtp:"; empty ones are not listed.
	DisplayName, GivenName, Surname, Alias, Office string
	// Kind is Mailbox when empty.
	Kind MailboxType
	// Members are the primary addresses of the members of a group.
	Members []string
	// NoContact leaves the Contact element out, as servers do for some mailboxes.
	NoContact bool
	// Photo reports that AllProperties carries a photo of 20 KB.
	Photo bool
	// Recipe, Encoding and Property say what the certificate properties hold. SMIME and Exchange replace what they say
	// when one of them is not nil.
	Recipe          Recipe
	Encoding        Encoding
	Property        Property
	SMIME, Exchange [][]byte
}

// MailboxType is the kind of an entry (MS-OXWSCDATA section 2.2.4.67).
type MailboxType string

// The kinds that the stand-in has.
const (
	Mailbox  MailboxType = "Mailbox"
	Contact  MailboxType = "Contact"
	PublicDL MailboxType = "PublicDL"
)

// Recipe says what an entry holds as certificates. Usable certificates are valid from 2024-01-01 to 2044-01-01, for RSA of
// 2048 bits, digitalSignature and keyEncipherment, emailProtection, with the primary address as rfc822Name.
type Recipe int

// Recipes. The zero value is an entry without any value.
const (
	None            Recipe = iota
	Usable                 // one usable certificate
	Expired                // ended on 2024-06-01
	NotYetValid            // starts on 2044-01-01
	SigningOnly            // digitalSignature only
	SomeoneElse            // the usable certificate of Alice
	Garbage                // noise, a truncated certificate and an empty value
	SeveralValues          // expired, signing-only, and the usable one last
	Renewed                // expired in MSExchangeCertificate, usable in UserSMIMECertificate
	CurveP256              // EC key on P-256, keyAgreement
	CurveP384              // EC key on P-384, keyAgreement
	WeakKey                // RSA of 1024 bits
	UntrustedIssuer        // issued by an authority that nobody trusts
)

// Encoding is the form of a value.
type Encoding int

// Encodings.
const (
	DER        Encoding = iota // one bare X.509 certificate
	SignedData                 // what Outlook publishes: SignedData over "Empty Body" with SMIMECapabilities and the issuer
	Settings                   // tag, length, value (MS-OXOABK section 2.2.4.36)
)

// Property is the element that holds a value.
type Property int

// Properties. Both puts the value, in its encoding, into UserSMIMECertificate and the bare certificate into
// MSExchangeCertificate, as Outlook does.
const (
	InExchange Property = iota // MSExchangeCertificate
	InSMIME                    // UserSMIMECertificate
	Both
)
