package Fanout::AuthorizeBackend;

=head1 NAME

Fanout::AuthorizeBackend - a backend that fanout_authorize asks

=head1 SYNOPSIS

    use Fanout::AuthorizeBackend;

    my $backend = Fanout::AuthorizeBackend->start;

    $backend->says('join room:1' => [ 200 ],
                   'publish *'   => [ 200, { ttl => 0 } ],
                   'join slow'   => [ 200, {}, wait => 'go' ]);

    my @asked = $backend->asked;        # "op channel", in order
    my @calls = $backend->calls;        # bodies, decoded

=head1 DESCRIPTION

A Fanout::Backend. C<says> takes the answers by the operation and the channel,
"*" for any channel: a status, a body, which is encoded unless it is a string,
and steps of a script that are done before. What has none is answered by 403.
C<forget> forgets what was asked so far.

=cut

use strict;
use warnings;

use MIME::Base64 qw( encode_base64 );

use Fanout::Backend ();
use Fanout::JSON;

our @ISA = qw( Fanout::Backend );


sub says {
    my ($self, %answers) = @_;

    my $path = "$self->{dir}/answers";

    open my $f, '>', "$path.new" or die "$path: $!";
    print $f Fanout::JSON::encode(\%answers);
    close $f;

    rename "$path.new", $path or die "$path: $!";
}


sub calls {
    my ($self) = @_;

    return map { Fanout::JSON::decode((split /\r\n\r\n/, $_, 2)[1]) }
           $self->requests;
}


sub asked  { map { question($_) } $_[0]->calls }

sub question {
    my ($call) = @_;

    return "$call->{op} " . ($call->{channel} // '');
}

sub forget { unlink glob "$_[0]{dir}/requests/*" }


# in processes of its own from here on

sub answer {
    my ($self, $c, $head, $body) = @_;

    my $answers = Fanout::JSON::decode(
        Fanout::Nginx::slurp("$self->{dir}/answers") || '{}');
    my $call = Fanout::JSON::decode($body);

    my ($status, $text, @steps) = @{ $answers->{ question($call) }
                                     || $answers->{"$call->{op} *"} || [ 403 ] };

    while (my ($verb, $what) = splice @steps, 0, 2) {
        $self->step($c, $verb, $what);
    }

    Fanout::Backend::put($c, Fanout::Backend::response(
        $status, [ [ 'Content-Type' => 'application/json' ] ],
        ref $text ? Fanout::JSON::encode($text) : $text));
}


1;
