package Fanout::HookBackend;

=head1 NAME

Fanout::HookBackend - a backend that hooks ask, which does as it is told

=head1 SYNOPSIS

    use Fanout::HookBackend;

    my $backend = Fanout::HookBackend->start;

    # NGINX: proxy_pass http://127.0.0.1:PORT, PORT being $backend->port

    $ann->cmd('publish', channel => 'a', data => {
        deny => { message => 'no', details => { why => 1 } }
    });

    $backend->does(send => response(500));      # all that follow
    $backend->does(wait => 'go');               # answers when let('go')
    $backend->does;                             # as at the beginning

    my @calls = $backend->calls;                # bodies, decoded, in order
    my @asked = $backend->asked;                # the publishes in them

=head1 DESCRIPTION

A Fanout::Backend, whose C<let>, C<stop>, C<begin> and steps it has. A publish
is answered by what its first message says, in its data:

    { deny => {...} }       {"allow":false} and these members
    { say => value }        that, as it is
    { change => [...] }     {"messages":[...]}
    { hold => name }        {}, when the test says let(name)
    { spoil => 1 }          what is no answer, for all of the call
    anything else           {}

C<does> takes steps, which are gone through for each request from then on.
Besides those of Fanout::Backend there are

    answer => 1         answers as above
    random => seconds   waits, as long at most
    trickle => n        sends n bytes, one by one, 10 a second

C<served> is how many connections the requests came by.
C<forget> forgets what was asked so far. C<wait_calls(n)> waits until there are as
many calls.

=cut

use strict;
use warnings;

use MIME::Base64 qw( encode_base64 );
use Time::HiRes qw( sleep );

use Fanout::Backend;
use Fanout::JSON;

our @ISA    = qw( Fanout::Backend );
our @EXPORT = qw( response );

use Exporter qw( import );

*response = \&Fanout::Backend::response;


sub does {
    my ($self, @steps) = @_;

    my @words;

    while (my ($verb, $what) = splice @steps, 0, 2) {
        push @words, "$verb=" . encode_base64($what, '');
    }

    my $path = "$self->{dir}/steps";

    open my $f, '>', "$path.new" or die "$path: $!";
    print $f join ' ', @words;
    close $f;

    rename "$path.new", $path or die "$path: $!";
}


sub calls {
    my ($self) = @_;

    return map { Fanout::JSON::decode((split /\r\n\r\n/, $_, 2)[1]) }
           $self->requests;
}


sub asked { map { @{ $_->{publishes} } } $_[0]->calls }

sub served {
    my %pids = map { /-(\d+)$/ ? ($1 => 1) : () } glob "$_[0]{dir}/requests/*";

    return scalar keys %pids;
}


sub wait_calls { $_[0]->wait_requests($_[1]) }

sub forget { unlink glob "$_[0]{dir}/requests/*" }

sub unlet { unlink "$_[0]{dir}/let/$_[1]" }


# in processes of its own from here on

sub answer {
    my ($self, $c, $head, $body) = @_;

    my $steps = Fanout::Nginx::slurp("$self->{dir}/steps");

    local $self->{body} = $body;

    $self->run($c, length $steps ? $steps : 'answer=MQ==');
}


sub step {
    my ($self, $c, $verb, $what) = @_;

    if ($verb eq 'answer') {
        $self->judge($c);

    } elsif ($verb eq 'random') {
        sleep rand $what;

    } elsif ($verb eq 'trickle') {
        for (1 .. $what) {
            Fanout::Backend::put($c, ' ');
            sleep 0.1;
        }

    } else {
        return $self->SUPER::step($c, $verb, $what);
    }
}


sub judge {
    my ($self, $c) = @_;

    my $call = Fanout::JSON::decode($self->{body});
    my @data = map { ref $_->{data} eq 'HASH' ? $_->{data} : () }
               map { @{ $_->{messages} } } @{ $call->{publishes} };

    $self->SUPER::step($c, wait => $_) for map { $_->{hold} // () } @data;

    if (grep { $_->{spoil} } @data) {
        Fanout::Backend::put($c, response(200, [], 'spoilt'));
        return;
    }

    my $text = Fanout::JSON::encode({
        publishes => [ map { verdict($_) } @{ $call->{publishes} } ]
    });

    Fanout::Backend::put($c, response(
        200, [ [ 'Content-Type' => 'application/json' ] ], $text));
}


sub verdict {
    my ($publish) = @_;

    my $data = $publish->{messages}[0]{data};

    return {} if ref $data ne 'HASH';

    return $data->{say} if exists $data->{say};
    return { messages => $data->{change} } if $data->{change};
    return { allow => Fanout::JSON::false, %{ $data->{deny} } }
        if $data->{deny};

    return {};
}


1;
