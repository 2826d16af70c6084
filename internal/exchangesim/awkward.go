package exchangesim

// Addresses that are always in the directory, on top of the ordinary people. Lookups of the names in the comments are
// what a client has to get right.
const (
	Alice         = "alice.adams@corp.example"        // usable RSA key; SignedData in UserSMIMECertificate, DER in MSExchangeCertificate
	Bob           = "bob.brown@corp.example"          // usable RSA key; DER in MSExchangeCertificate
	BobElsewhere  = "bob.brown@corp.example.org"      // another Bob: his address starts with the address of Bob; usable, another key
	Carol         = "carol.clark@corp.example"        // renewed: expired DER in MSExchangeCertificate, current SignedData in UserSMIMECertificate
	SettingsForm  = "tilda.lund@corp.example"         // usable RSA key; tag, length, value form in UserSMIMECertificate
	NoCertificate = "nora.none@corp.example"          // no value at all
	ExpiredPerson = "erik.expired@corp.example"       // certificate ended on 2024-06-01
	Future        = "fiona.future@corp.example"       // certificate starts on 2044-01-01
	Signer        = "simon.signer@corp.example"       // certificate for digitalSignature only
	WrongAddress  = "walter.wrong@corp.example"       // holds the certificate of Alice
	GarbageValues = "gina.garbage@corp.example"       // noise, a truncated certificate and an empty value
	GoodOneLast   = "sven.several@corp.example"       // expired, signing-only and usable certificate, in this order
	Curve         = "ella.curve@corp.example"         // EC key on P-256
	CurveLong     = "emil.curve@corp.example"         // EC key on P-384
	MixedCase     = "Mixed.Case@Corp.Example"         // listed in this spelling, certificate names mixed.case@corp.example
	NonASCII      = "zofie.capkova@corp.example"      // Žofie Čapková
	Alias         = "anna.alias@corp.example"         // has AliasListed and AliasUnlisted
	AliasListed   = "anna.maiden@corp.example"        // second address of Alias, listed
	AliasUnlisted = "the.unlisted@corp.example"       // fifth address of Alias: found by "smtp:", never listed
	WeakRSA       = "wanda.weak@corp.example"         // RSA key of 1024 bits
	Untrusted     = "ursula.untrusted@corp.example"   // issuer that no anchor covers
	WithoutDetail = "nick.nocontact@corp.example"     // the answer never has a Contact element
	Partner       = "petra.partner@partner.example"   // MailboxType Contact with a usable certificate
	SharedMailbox = "info@corp.example"               // shared mailbox without certificate
	Team          = "team@corp.example"               // group: Alice, Bob
	Everyone      = "everyone@corp.example"           // group: Team, Carol, Partner
	TeamWithNora  = "team-nora@corp.example"          // group: Alice and NoCertificate
	RingOne       = "ring-one@corp.example"           // group: RingTwo and Alice; the two contain each other
	RingTwo       = "ring-two@corp.example"           // group: RingOne and Bob
	EmptyGroup    = "nobody@corp.example"             // group without members
	Nobody        = "nobody.at.all.here@corp.example" // never in the directory
)

// fixture is a person at a fixed address with the key that is his.
type fixture struct {
	name   string // file name of his identity
	key    int    // index into the RSA keys, or into the P-256 keys for Recipe CurveP256
	person Person
}

// fixtures are the people at fixed addresses, in directory order.
func fixtures() []fixture {
	mail := func(primary, given, surname string, recipe Recipe, encoding Encoding, property Property) Person {
		return Person{Primary: primary, GivenName: given, Surname: surname, DisplayName: given + " " + surname,
			Office: "Fixtures", Photo: true, Recipe: recipe, Encoding: encoding, Property: property}
	}
	group := func(primary, name string, members ...string) Person {
		return Person{Primary: primary, DisplayName: name, Kind: PublicDL, Members: members}
	}
	alias := mail(Alias, "Anna", "Alias", Usable, DER, InExchange)
	alias.Proxies = []string{AliasListed, "aalias@corp.example", "anna@sales.corp.example", AliasUnlisted}
	quiet := mail(WithoutDetail, "Nick", "Nocontact", Usable, DER, InExchange)
	quiet.NoContact = true
	partner := mail(Partner, "Petra", "Partner", Usable, DER, InExchange)
	partner.Kind, partner.Photo = Contact, false
	return []fixture{
		{"alice", 0, mail(Alice, "Alice", "Adams", Usable, SignedData, Both)},
		{"bob", 1, mail(Bob, "Bob", "Brown", Usable, DER, InExchange)},
		{"bob-elsewhere", 2, mail(BobElsewhere, "Bob", "Brown", Usable, DER, InExchange)},
		{"carol", 3, mail(Carol, "Carol", "Clark", Renewed, SignedData, Both)},
		{"settings-form", 2, mail(SettingsForm, "Tilda", "Lund", Usable, Settings, InSMIME)},
		{"no-certificate", 2, mail(NoCertificate, "Nora", "None", None, DER, InExchange)},
		{"expired", 2, mail(ExpiredPerson, "Erik", "Expired", Expired, DER, InExchange)},
		{"future", 2, mail(Future, "Fiona", "Future", NotYetValid, DER, InExchange)},
		{"signer", 2, mail(Signer, "Simon", "Signer", SigningOnly, DER, InExchange)},
		{"wrong-address", 0, mail(WrongAddress, "Walter", "Wrong", SomeoneElse, DER, InExchange)},
		{"garbage", 2, mail(GarbageValues, "Gina", "Garbage", Garbage, DER, Both)},
		{"good-one-last", 3, mail(GoodOneLast, "Sven", "Several", SeveralValues, DER, InSMIME)},
		{"curve", 0, mail(Curve, "Ella", "Curve", CurveP256, DER, InExchange)},
		{"curve-long", 0, mail(CurveLong, "Emil", "Curve", CurveP384, DER, InExchange)},
		{"mixed-case", 3, mail(MixedCase, "Mixed", "Case", Usable, DER, InExchange)},
		{"non-ascii", 2, mail(NonASCII, "Žofie", "Čapková", Usable, SignedData, InSMIME)},
		{"alias", 3, alias},
		{"weak-rsa", 0, mail(WeakRSA, "Wanda", "Weak", WeakKey, DER, InExchange)},
		{"untrusted", 2, mail(Untrusted, "Ursula", "Untrusted", UntrustedIssuer, DER, InExchange)},
		{"without-detail", 2, quiet},
		{"partner", 3, partner},
		{"info", 2, Person{Primary: SharedMailbox, DisplayName: "Information"}},
		{"team", 0, group(Team, "Team", Alice, Bob)},
		{"everyone", 0, group(Everyone, "Everyone", Team, Carol, Partner)},
		{"team-nora", 0, group(TeamWithNora, "Team with Nora", Alice, NoCertificate)},
		{"ring-one", 0, group(RingOne, "Ring One", RingTwo, Alice)},
		{"ring-two", 0, group(RingTwo, "Ring Two", RingOne, Bob)},
		{"nobody", 0, group(EmptyGroup, "Nobody")},
	}
}

// Identities returns the people at fixed addresses who own a certificate: a short name, fit for a file, and the address.
func Identities() map[string]string {
	list := map[string]string{}
	for _, f := range fixtures() {
		if f.person.Recipe != None && f.person.Recipe != Garbage {
			list[f.name] = f.person.Primary
		}
	}
	return list
}
