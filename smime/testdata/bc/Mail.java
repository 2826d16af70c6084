import java.io.*;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import java.util.List;
import java.util.Properties;
import javax.mail.Message;
import javax.mail.Session;
import javax.mail.internet.*;
import org.bouncycastle.asn1.ASN1EncodableVector;
import org.bouncycastle.asn1.cms.AttributeTable;
import org.bouncycastle.asn1.smime.*;
import org.bouncycastle.cert.jcajce.JcaCertStore;
import org.bouncycastle.cms.*;
import org.bouncycastle.cms.jcajce.*;
import org.bouncycastle.mail.smime.*;

/**
 * A mail program with BouncyCastle and JavaMail. Questions and answers are those of Peer, whose tools it uses:
 *
 * <pre>
 * verify   authority-file  mail-file  part-file
 * sign     algorithm  detached|attached  from  certificate-file  key-file  part-file  mail-file
 * encrypt  to  certificate-file  part-file  mail-file
 * decrypt  certificate-file  key-file  mail-file  part-file
 * </pre>
 */
public class Mail {
    static final Session session = Session.getInstance(new Properties());

    public static void main(String[] args) throws Exception { Peer.serve(Mail::answer); }

    static String answer(String[] q) throws Exception {
        switch (q[0]) {
        case "verify":
            Peer.write(q[3], verify(mail(q[2]), Peer.certificate(q[1])));
            return "";
        case "sign":
            sign(q[1], q[2].equals("detached"), q[3], Peer.certificate(q[4]), Peer.key(q[5]), part(q[6]), q[7]);
            return "";
        case "encrypt":
            encrypt(q[1], Peer.certificate(q[2]), part(q[3]), q[4]);
            return "";
        case "decrypt":
            Peer.write(q[4], decrypt(mail(q[3]), Peer.certificate(q[1]), Peer.key(q[2])));
            return "";
        }
        throw new IllegalArgumentException("question " + q[0]);
    }

    static MimeMessage mail(String file) throws Exception { return new MimeMessage(session, new ByteArrayInputStream(Peer.read(file))); }

    static MimeBodyPart part(String file) throws Exception { return new MimeBodyPart(new ByteArrayInputStream(Peer.read(file))); }

    static byte[] verify(MimeMessage mail, X509Certificate authority) throws Exception {
        SMIMESigned signed = mail.isMimeType("multipart/signed") ? new SMIMESigned((MimeMultipart) mail.getContent()) : new SMIMESigned(mail);
        Peer.verify(signed, authority);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        signed.getContent().writeTo(out);
        return out.toByteArray();
    }

    static void sign(String algorithm, boolean detached, String from, X509Certificate cert, PrivateKey key, MimeBodyPart part, String file) throws Exception {
        SMIMECapabilityVector can = new SMIMECapabilityVector();
        can.addCapability(SMIMECapability.aES256_CBC);
        ASN1EncodableVector attributes = new ASN1EncodableVector();
        attributes.add(new SMIMECapabilitiesAttribute(can));
        SMIMESignedGenerator generator = new SMIMESignedGenerator();
        generator.addSignerInfoGenerator(new JcaSimpleSignerInfoGeneratorBuilder().setProvider(Peer.BC)
            .setSignedAttributeGenerator(new AttributeTable(attributes)).build(algorithm, key, cert));
        generator.addCertificates(new JcaCertStore(List.of(cert)));
        MimeMessage mail = new MimeMessage(session);
        mail.setFrom(new InternetAddress(from));
        if (detached) {
            MimeMultipart both = generator.generate(part);
            mail.setContent(both, both.getContentType());
        } else {
            MimeBodyPart opaque = generator.generateEncapsulated(part);
            mail.setContent(opaque.getContent(), opaque.getContentType());
        }
        save(mail, file);
    }

    static void encrypt(String to, X509Certificate cert, MimeBodyPart part, String file) throws Exception {
        SMIMEEnvelopedGenerator generator = new SMIMEEnvelopedGenerator();
        generator.addRecipientInfoGenerator(new JceKeyTransRecipientInfoGenerator(cert).setProvider(Peer.BC));
        MimeBodyPart encrypted = generator.generate(part, new JceCMSContentEncryptorBuilder(CMSAlgorithm.AES256_CBC).setProvider(Peer.BC).build());
        MimeMessage mail = new MimeMessage(session);
        mail.setRecipient(Message.RecipientType.TO, new InternetAddress(to));
        mail.setContent(encrypted.getContent(), encrypted.getContentType());
        save(mail, file);
    }

    static void save(MimeMessage mail, String file) throws Exception {
        mail.saveChanges();
        try (OutputStream out = new FileOutputStream(file)) {
            mail.writeTo(out);
        }
    }

    static byte[] decrypt(MimeMessage mail, X509Certificate cert, PrivateKey key) throws Exception {
        boolean authenticated = "authEnveloped-data".equals(new javax.mail.internet.ContentType(mail.getContentType()).getParameter("smime-type"));
        // BouncyCastle's mail classes have no AuthEnvelopedData; its CMS classes read the body of the mail.
        RecipientInformationStore infos = authenticated ? new CMSAuthEnvelopedData(mail.getInputStream()).getRecipientInfos()
            : new SMIMEEnveloped(mail).getRecipientInfos();
        RecipientInformation info = infos.get(new JceKeyTransRecipientId(cert));
        if (info == null) throw new CMSException("no such recipient");
        return info.getContent(Peer.opener(key, authenticated));
    }
}
