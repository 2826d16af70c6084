import java.io.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.*;
import java.security.cert.X509Certificate;
import java.security.spec.MGF1ParameterSpec;
import java.util.*;
import javax.crypto.Cipher;
import javax.crypto.spec.OAEPParameterSpec;
import javax.crypto.spec.PSource;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.ASN1OctetString;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.pkcs.PrivateKeyInfo;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.asn1.x509.SubjectPublicKeyInfo;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.*;
import org.bouncycastle.cms.*;
import org.bouncycastle.cms.jcajce.*;
import org.bouncycastle.jcajce.io.CipherInputStream;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.openssl.*;
import org.bouncycastle.openssl.jcajce.JcaPEMKeyConverter;
import org.bouncycastle.operator.*;
import org.bouncycastle.operator.jcajce.*;

/**
 * A CMS program with BouncyCastle. It reads questions from standard input, one a line, fields between tabs, and answers each with
 * one line: "ok" with a result, or "refused" with the reason.
 *
 * <pre>
 * version
 * encrypt  transport  cipher  content-file  message-file  certificate-file...
 * decrypt  certificate-file  key-file  message-file  content-file
 * sign     algorithm  detached|attached  certificate-file  key-file  content-file  message-file
 * verify   detached|attached  authority-file  message-file  content-file
 * </pre>
 */
public class Peer {
    static final String BC = "BC";

    public static void main(String[] args) throws Exception { serve(Peer::answer); }

    /** What answers a question. */
    interface Answers { String answer(String[] question) throws Exception; }

    static void serve(Answers answers) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            String answer;
            try {
                answer = "ok\t" + answers.answer(line.split("\t"));
            } catch (Exception e) {
                answer = "refused\t" + reason(e);
            }
            System.out.println(answer);
            System.out.flush();
        }
    }

    static String reason(Throwable e) {
        StringBuilder text = new StringBuilder();
        for (; e != null; e = e.getCause()) {
            text.append(text.length() > 0 ? ": " : "").append(e.getClass().getSimpleName());
            if (e.getMessage() != null) text.append(": ").append(e.getMessage());
        }
        return text.toString().replaceAll("\\s+", " ");
    }

    static String answer(String[] q) throws Exception {
        switch (q[0]) {
        case "version":
            return Security.getProvider(BC).getVersionStr() + "\t" + System.getProperty("java.version");
        case "encrypt":
            write(q[4], encrypt(q[1], q[2], read(q[3]), Arrays.copyOfRange(q, 5, q.length)));
            return "";
        case "decrypt":
            write(q[4], decrypt(certificate(q[1]), key(q[2]), read(q[3])));
            return "";
        case "sign":
            write(q[6], sign(q[1], q[2].equals("detached"), certificate(q[3]), key(q[4]), read(q[5])));
            return "";
        case "verify":
            if (q[1].equals("detached")) {
                verify(new CMSSignedData(new CMSProcessableByteArray(read(q[4])), read(q[3])), certificate(q[2]));
            } else {
                CMSSignedData signed = new CMSSignedData(read(q[3]));
                verify(signed, certificate(q[2]));
                write(q[4], (byte[]) signed.getSignedContent().getContent());
            }
            return "";
        }
        throw new IllegalArgumentException("question " + q[0]);
    }

    static byte[] encrypt(String transport, String cipher, byte[] content, String[] certificates) throws Exception {
        ASN1ObjectIdentifier oid = cipher(cipher);
        OutputEncryptor encryptor = new JceCMSContentEncryptorBuilder(oid).setProvider(BC).build();
        CMSTypedData data = new CMSProcessableByteArray(content);
        boolean aead = encryptor instanceof OutputAEADEncryptor;
        CMSAuthEnvelopedDataGenerator authenticated = new CMSAuthEnvelopedDataGenerator();
        CMSEnvelopedDataGenerator enveloped = new CMSEnvelopedDataGenerator();
        for (String file : certificates) {
            RecipientInfoGenerator recipient = recipient(transport, cipher, certificate(file));
            if (aead) authenticated.addRecipientInfoGenerator(recipient);
            else enveloped.addRecipientInfoGenerator(recipient);
        }
        return aead ? authenticated.generate(data, (OutputAEADEncryptor) encryptor).getEncoded() : enveloped.generate(data, encryptor).getEncoded();
    }

    static ASN1ObjectIdentifier cipher(String name) {
        switch (name) {
        case "AES-128-CBC": return CMSAlgorithm.AES128_CBC;
        case "AES-256-CBC": return CMSAlgorithm.AES256_CBC;
        case "AES-128-GCM": return CMSAlgorithm.AES128_GCM;
        case "AES-256-GCM": return CMSAlgorithm.AES256_GCM;
        case "ChaCha20-Poly1305": return PKCSObjectIdentifiers.id_alg_AEADChaCha20Poly1305;
        }
        throw new IllegalArgumentException("cipher " + name);
    }

    static RecipientInfoGenerator recipient(String transport, String cipher, X509Certificate cert) throws Exception {
        PublicKey pub = cert.getPublicKey();
        if (pub.getAlgorithm().equals("RSA")) {
            if (transport.equals("pkcs1")) return new JceKeyTransRecipientInfoGenerator(cert).setProvider(BC);
            AlgorithmIdentifier oaep = new JcaAlgorithmParametersConverter().getAlgorithmIdentifier(PKCSObjectIdentifiers.id_RSAES_OAEP,
                new OAEPParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256, PSource.PSpecified.DEFAULT));
            return new JceKeyTransRecipientInfoGenerator(cert, oaep).setProvider(BC);
        }
        KeyPairGenerator pairs;
        ASN1ObjectIdentifier scheme = CMSAlgorithm.ECDH_SHA256KDF;
        if (pub instanceof java.security.interfaces.ECPublicKey) {
            pairs = KeyPairGenerator.getInstance("EC", BC);
            pairs.initialize(((java.security.interfaces.ECPublicKey) pub).getParams());
        } else { // RFC 8418
            pairs = KeyPairGenerator.getInstance("X25519", BC);
            scheme = new ASN1ObjectIdentifier("1.2.840.113549.1.9.16.3.19");
        }
        KeyPair pair = pairs.generateKeyPair();
        ASN1ObjectIdentifier wrap = cipher.startsWith("AES-128") ? CMSAlgorithm.AES128_WRAP : CMSAlgorithm.AES256_WRAP;
        return new JceKeyAgreeRecipientInfoGenerator(scheme, pair.getPrivate(), pair.getPublic(), wrap).addRecipient(cert).setProvider(BC);
    }

    static byte[] decrypt(X509Certificate cert, PrivateKey key, byte[] message) throws Exception {
        boolean aead = new ContentType(message).authenticated;
        RecipientInformationStore infos = aead ? new CMSAuthEnvelopedData(message).getRecipientInfos() : new CMSEnvelopedData(message).getRecipientInfos();
        RecipientId id = key.getAlgorithm().equals("RSA") ? new JceKeyTransRecipientId(cert) : new JceKeyAgreeRecipientId(cert);
        RecipientInformation info = infos.get(id);
        if (info == null) throw new CMSException("no such recipient");
        return info.getContent(opener(key, aead));
    }

    static Recipient opener(PrivateKey key, boolean aead) {
        if (key.getAlgorithm().equals("RSA")) {
            return aead ? new JceKeyTransAuthEnvelopedRecipient(key).setProvider(BC) : new JceKeyTransEnvelopedRecipient(key).setProvider(BC);
        }
        return aead ? new KeyAgreeAuthEnvelopedRecipient(key).setProvider(BC) : new JceKeyAgreeEnvelopedRecipient(key).setProvider(BC);
    }

    /** Reads the type of a ContentInfo. */
    static class ContentType {
        final boolean authenticated;

        ContentType(byte[] message) throws Exception {
            try (org.bouncycastle.asn1.ASN1InputStream in = new org.bouncycastle.asn1.ASN1InputStream(message)) {
                authenticated = org.bouncycastle.asn1.cms.ContentInfo.getInstance(in.readObject()).getContentType()
                    .equals(org.bouncycastle.asn1.cms.CMSObjectIdentifiers.authEnvelopedData);
            }
        }
    }

    /** Key agreement is BouncyCastle's; that it opens an AuthEnvelopedData is added here, for BouncyCastle 1.72 has no class for that. */
    static class KeyAgreeAuthEnvelopedRecipient extends JceKeyAgreeRecipient {
        KeyAgreeAuthEnvelopedRecipient(PrivateKey key) { super(key); }

        @Override
        public RecipientOperator getRecipientOperator(AlgorithmIdentifier agreement, AlgorithmIdentifier content, SubjectPublicKeyInfo sender,
                ASN1OctetString ukm, byte[] wrapped) throws CMSException {
            Key key = extractSecretKey(agreement, content, sender, ukm, wrapped);
            try {
                AlgorithmParameters parameters = AlgorithmParameters.getInstance("GCM", BC);
                parameters.init(content.getParameters().toASN1Primitive().getEncoded());
                Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding", BC);
                cipher.init(Cipher.DECRYPT_MODE, key, parameters);
                return new RecipientOperator(new InputDecryptor() {
                    public AlgorithmIdentifier getAlgorithmIdentifier() { return content; }

                    public InputStream getInputStream(InputStream in) { return new CipherInputStream(in, cipher); }
                });
            } catch (Exception e) {
                throw new CMSException("open content", e);
            }
        }
    }

    static byte[] sign(String algorithm, boolean detached, X509Certificate cert, PrivateKey key, byte[] content) throws Exception {
        CMSSignedDataGenerator generator = new CMSSignedDataGenerator();
        ContentSigner signer = new JcaContentSignerBuilder(algorithm).setProvider(BC).build(key);
        generator.addSignerInfoGenerator(new JcaSignerInfoGeneratorBuilder(new JcaDigestCalculatorProviderBuilder().setProvider(BC).build()).build(signer, cert));
        generator.addCertificates(new JcaCertStore(List.of(cert)));
        return generator.generate(new CMSProcessableByteArray(content), !detached).getEncoded();
    }

    /** Demands at least one signer, a good signature of each and a certificate of each from the authority. */
    static void verify(CMSSignedData signed, X509Certificate authority) throws Exception {
        Collection<SignerInformation> signers = signed.getSignerInfos().getSigners();
        if (signers.isEmpty()) throw new CMSException("not signed");
        for (SignerInformation signer : signers) {
            @SuppressWarnings("unchecked")
            Collection<X509CertificateHolder> found = signed.getCertificates().getMatches(signer.getSID());
            if (found.size() != 1) throw new CMSException(found.size() + " certificates of the signer");
            X509Certificate cert = new JcaX509CertificateConverter().setProvider(BC).getCertificate(found.iterator().next());
            cert.verify(authority.getPublicKey(), BC);
            if (!signer.verify(new JcaSimpleSignerInfoVerifierBuilder().setProvider(BC).build(cert))) throw new CMSException("signature does not verify");
        }
    }

    static X509Certificate certificate(String file) throws Exception {
        try (PEMParser parser = new PEMParser(Files.newBufferedReader(Path.of(file)))) {
            return new JcaX509CertificateConverter().setProvider(BC).getCertificate((X509CertificateHolder) parser.readObject());
        }
    }

    static PrivateKey key(String file) throws Exception {
        try (PEMParser parser = new PEMParser(Files.newBufferedReader(Path.of(file)))) {
            for (Object o; (o = parser.readObject()) != null; ) {
                if (o instanceof PEMKeyPair) o = ((PEMKeyPair) o).getPrivateKeyInfo();
                if (o instanceof PrivateKeyInfo) return new JcaPEMKeyConverter().setProvider(BC).getPrivateKey((PrivateKeyInfo) o);
            }
        }
        throw new KeyException("no private key");
    }

    static byte[] read(String file) throws IOException { return Files.readAllBytes(Path.of(file)); }

    static void write(String file, byte[] data) throws IOException { Files.write(Path.of(file), data); }
}
