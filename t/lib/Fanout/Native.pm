package Fanout::Native;

=head1 NAME

Fanout::Native - a client of the native protocol

=head1 SYNOPSIS

    my $ann = Fanout::Native->connect(port => $port, path => '/realtime');

    $ann->welcome->{client};
    my $state = $ann->ok('join', channel => 'room:1', history => 10);

    my $reply = $ann->cmd('publish', channel => 'room:1', data => 'x');
    is($reply->{error}{code}, 'forbidden');

    is($ann->next_push->{data}, 'x');
    is_deeply([ $ann->drain ], []);

=head1 DESCRIPTION

A Fanout::WS (all its methods work) that speaks JSON.

=over

=item connect(%o)

As Fanout::WS, and offers "fanout.v1"; C<token> and C<resume> become further
subprotocols. Waits for the welcome (unless C<< welcome => 0 >>) and keeps it.

=item cmd(op, %members), ok(op, %members)

Sends a command with an id of its own and waits for its reply: {ok} or
{error}; parts that came before it are in {part} as an array. C<ok> returns what is under "ok" and
dies on an error. A reply that doesn't come is a death; time-out: C<timeout>.

=item send_cmd(op, %members)

The same without waiting; returns the id for C<reply(id, timeout?)>.

=item batch(\%command...)

Sends one array, returns the replies in the order of the commands.

=item send_json(value)

Sends it as it is, with no id of ours.

=item next_push(timeout?), next_where(sub, timeout?)

The next frame that is no reply to an id, in order; the next for which
sub($push) is true (others stay queued). Undef at a time-out or the end.

=item drain

All that is queued or can be read at once.

=back

=cut

use strict;
use warnings;

use Fanout::Elapsed qw( time );
use Fanout::JSON;
use Fanout::WS;

our @ISA = qw( Fanout::WS );


sub connect {
    my ($class, %o) = @_;

    my @protocols = @{ $o{subprotocols} || ['fanout.v1'] };

    push @protocols, "fanout.token.$o{token}"   if defined $o{token};
    push @protocols, "fanout.resume.$o{resume}" if defined $o{resume};

    my $self = $class->SUPER::connect(
        path => '/realtime', %o, subprotocols => \@protocols
    );

    $self->{id}      = 0;
    $self->{pushes}  = [];
    $self->{replies} = {};
    $self->{parts}   = {};

    return $self if exists $o{welcome} && !$o{welcome};
    return $self if $self->status != 101;

    my $frame = $self->next_where(sub { $_[0]{welcome} }, $o{timeout})
        or die "no welcome: " . $self->how_it_ended . "\n";

    $self->{welcome} = $frame->{welcome};

    return $self;
}


sub welcome { $_[0]{welcome} }
sub client  { $_[0]{welcome}{client} }
sub resume  { $_[0]{welcome}{resume} }


sub how_it_ended {
    my ($self) = @_;

    return defined $self->close_code
        ? 'closed by ' . $self->close_code . ' ' . $self->close_reason
        : $self->eof ? 'connection lost' : 'timed out';
}


sub send_json {
    my ($self, $value) = @_;

    return $self->send_text(Fanout::JSON::encode($value));
}


sub send_cmd {
    my ($self, $op, %members) = @_;

    my $id = ++$self->{id};

    $self->send_json({ id => $id, op => $op, %members });

    return $id;
}


sub cmd {
    my ($self, $op, %members) = @_;

    my $timeout = delete $members{timeout};
    my $id      = $self->send_cmd($op, %members);

    return $self->reply($id, $timeout)
        || die "no reply to $op: " . $self->how_it_ended . "\n";
}


sub ok {
    my ($self, $op, %members) = @_;

    my $reply = $self->cmd($op, %members);

    return $reply->{ok} if exists $reply->{ok};

    die "$op: " . Fanout::JSON::encode($reply->{error}) . "\n";
}


sub batch {
    my ($self, @commands) = @_;

    my @ids = map { ++$self->{id} } @commands;
    my $i   = 0;

    $self->send_json([ map { { id => $ids[$i++], %$_ } } @commands ]);

    return map {
        $self->reply($_)
            || die "no reply to a batch: " . $self->how_it_ended . "\n"
    } @ids;
}


sub reply {
    my ($self, $id, $timeout) = @_;

    $self->read_until(sub { $self->{replies}{$id} }, $timeout);

    return delete $self->{replies}{$id};
}


sub next_push {
    my ($self, $timeout) = @_;

    $self->read_until(sub { @{ $self->{pushes} } }, $timeout);

    return shift @{ $self->{pushes} };
}


sub next_where {
    my ($self, $match, $timeout) = @_;

    my ($seen, $found) = (0, undef);

    $self->read_until(sub {
        for (; $seen < @{ $self->{pushes} }; $seen++) {
            if ($match->($self->{pushes}[$seen])) {
                $found = splice @{ $self->{pushes} }, $seen, 1;
                return 1;
            }
        }
        return 0;
    }, $timeout);

    return $found;
}


sub drain {
    my ($self) = @_;

    $self->read_until(sub { 0 }, 0);

    return splice @{ $self->{pushes} };
}


sub read_until {
    my ($self, $done, $timeout) = @_;

    my $end = time + (defined $timeout ? $timeout : 10)
                     * $Fanout::Socket::SCALE;

    while (!$done->()) {
        my $left = ($end - time) / $Fanout::Socket::SCALE;
        my $text = $self->recv_text($left > 0 ? $left : 0);

        return if !defined $text;

        $self->sort_in($text);
    }
}


sub sort_in {
    my ($self, $text) = @_;

    my $value = Fanout::JSON::decode($text);

    for my $frame (ref $value eq 'ARRAY' ? @$value : $value) {
        my $id = $frame->{id};

        if (!defined $id) {
            push @{ $self->{pushes} }, $frame;

        } elsif (exists $frame->{part}) {
            push @{ $self->{parts}{$id} }, $frame->{part};

        } else {
            my $parts = delete $self->{parts}{$id};
            $frame->{part} = $parts if $parts;
            $self->{replies}{$id} = $frame;
        }
    }
}


1;
