package Fanout::JWT;

=head1 NAME

Fanout::JWT - makes tokens

=head1 SYNOPSIS

    my $token = Fanout::JWT::sign('HS256', $secret, { sub => 'ann' });

    my $keys = Fanout::JWT::key_pair('RS256', $directory);
    $token = Fanout::JWT::sign('RS256', $keys, { sub => 'ann' }, kid => 'k1');
    $keys->{pem};                           # path of the public key
    Fanout::JWT::jwks(k1 => $keys);         # text

=head1 DESCRIPTION

=over

=item sign(algorithm, key, claims, %header)

Claims are a hash, or a text that is taken as it is. "exp" is in an hour unless
the hash has one; undef leaves it out. The key is a secret, or what key_pair()
returned. Algorithms: HS256, RS256, ES256; others are signed with HS256, and only
named in the header.

=item key_pair(algorithm, directory)

=item jwks(kid, key, ...)

A set of RSA keys.

=back

=cut

use strict;
use warnings;

use Digest::SHA ();
use MIME::Base64 ();

use Fanout::JSON;

my $pairs = 0;


sub base64url {
    my ($bytes) = @_;

    my $text = MIME::Base64::encode_base64($bytes, '');

    $text =~ tr{+/}{-_};
    $text =~ s/=+\z//;

    return $text;
}


sub sign {
    my ($alg, $key, $claims, %header) = @_;

    if (ref $claims) {
        $claims = { exp => CORE::time() + 3600, %$claims };
        delete $claims->{exp} if !defined $claims->{exp};
        $claims = Fanout::JSON::encode($claims);
    }

    my $head = Fanout::JSON::encode({ alg => $alg, typ => 'JWT', %header });
    my $text = base64url($head) . '.' . base64url($claims);

    return "$text." . base64url(signature($alg, $key, $text));
}


sub signature {
    my ($alg, $key, $text) = @_;

    return Digest::SHA::hmac_sha256($text, $key) if !ref $key;

    my $file = "$key->{private}.in";

    open my $f, '>', $file or die "$file: $!";
    print $f $text;
    close $f;

    my $bytes = openssl(qw( dgst -sha256 -sign ), $key->{private}, $file);

    return $alg eq 'ES256' ? raw($bytes) : $bytes;
}


# r and s of 32 bytes, out of the DER (RFC 7518, section 3.4)

sub raw {
    my ($der) = @_;

    my ($r, $s) = unpack 'x2 x C/a x C/a', $der;

    return join '', map { substr "\0" x 32 . $_, -32 } $r, $s;
}


sub key_pair {
    my ($alg, $dir) = @_;

    my $name = "$dir/key" . ++$pairs;
    my @how  = $alg eq 'ES256'
             ? qw( -algorithm EC -pkeyopt ec_paramgen_curve:P-256 )
             : qw( -algorithm RSA -pkeyopt rsa_keygen_bits:2048 );

    openssl('genpkey', @how, '-out', $name);
    openssl('pkey', '-in', $name, '-pubout', '-out', "$name.pem");

    return { private => $name, pem => "$name.pem" };
}


sub jwks {
    my @keys;

    while (my ($kid, $key) = splice @_, 0, 2) {
        my ($n) = openssl(qw( rsa -pubin -noout -modulus -in ), $key->{pem})
                  =~ /=(\w+)/;

        push @keys, { kty => 'RSA', kid => $kid, use => 'sig', e => 'AQAB',
                      n => base64url(pack 'H*', $n) };
    }

    return Fanout::JSON::encode({ keys => \@keys });
}


sub openssl {
    my (@args) = @_;

    open my $f, '-|', 'sh', '-c', 'exec openssl "$@" 2>/dev/null', 'sh', @args
        or die "openssl: $!";
    binmode $f;

    my $out = do { local $/; <$f> };

    close $f or die "openssl @args: $?";

    return $out;
}


1;
