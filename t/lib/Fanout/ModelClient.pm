package Fanout::ModelClient;

=head1 NAME

Fanout::ModelClient - a client that knows what all must see of it

=head1 SYNOPSIS

    my $c = Fanout::ModelClient->new(port => $port, path => '/rt?user=ann');

    $c->open;
    $c->join('room:1', key => 'tab', data => { x => 1 });
    $c->pump while ...;             # never waits

    $c->own('room:1');              # what all must see of it in the end
    $c->list('room:1');             # what it sees, undef while it reads anew
    $c->faults;                     # what can't be

=head1 DESCRIPTION

Sends without waiting, and takes what has come when C<pump> is called. It keeps
the list of members of each channel from the snapshot in the reply to its join
and the changes that follow, and reads it anew after a gap or a reset. What a
server that tells the truth can't say (a leave or an update of who isn't there,
a second join, an offset that goes back) is a fault.

What it has of its own is known once the server has acknowledged it. What was
on its way when the connection broke, and what may have lingered for too long
before it came back, is said again after the next join.

=over

=item new(port, path, linger)

C<linger>: seconds after which who does not come back leaves, at the earliest.

=item open(resume?), cut, fin, finish, mute

Connects, with the token if that is asked for; ends by a reset, by the end of
the stream, by a close with 1000; or keeps the connection and neither reads nor
writes.

=item join, update, merge, state, withdraw, leave, read

Commands.

=item alive(time)

Nothing was to be read from it then, nor its end.

=item meant(client, channel), away(client)

Of all clients there are: whether what the client has on the channel may have
left as it said so itself; for how many seconds it has been away at most, at
once, up to now.

=item up, idle

It has been welcomed; it has no command without a reply.

=back

=cut

use strict;
use warnings;

use Fanout::Elapsed qw( time );
use Fanout::JSON;
use Fanout::WS;

our @ISA = qw( Fanout::WS );

my (%meant, %away, %since);


sub new {
    my ($class, %o) = @_;

    my $buffer = '';

    return bless {
        port => $o{port}, path => $o{path}, linger => $o{linger},
        buffer => \$buffer, eof => 1, state => 'none', channels => {},
        wait => {}, id => 0, faults => [], opened => 0, resumed => 0,
        changes => 0, again => 0, alive => 0,
    }, $class;
}


sub up     { $_[0]{state} eq 'up' }
sub idle   { !%{ $_[0]{wait} } }
sub client { $_[0]{client} }
sub faults { @{ $_[0]{faults} } }
sub none   { $_[0]{state} eq 'none' }


sub fault {
    my ($self, $text) = @_;

    push @{ $self->{faults} },
         ($self->{client} || 'a client') . " ($self->{path}): $text";
}


# The connection

sub open {
    my ($self, $resume) = @_;

    my $socket = Fanout::Socket->open(port => $self->{port});

    $self->{sock}   = $socket->sock;
    $self->{eof}    = 0;
    $self->{buffer} = $socket->buffer;
    $self->{state}  = 'opening';
    $self->{worker} = 0;
    $self->{alive}  = time;
    $self->{out}    = '';
    $self->{wait}   = {};
    delete $self->{part};
    delete @$self{qw( close_code close_reason )};
    $self->{opened}++;

    my @protocols = ('fanout.v1');

    push @protocols, "fanout.resume.$self->{resume}"
        if $resume && $self->{resume};

    $self->put(Fanout::WS::request('AAAAAAAAAAAAAAAAAAAAAA==',
        path => $self->{path}, subprotocols => \@protocols));
}


sub put {
    my ($self, $bytes) = @_;

    $self->{out} .= $bytes;
    return if $self->{state} eq 'mute';

    my $n = $self->try_send($self->{out});

    substr $self->{out}, 0, $n, '' if $n;
}

# for pongs too, which must not wait

sub send_bytes { $_[0]->put($_[1]); 1 }


# All that was on its way is not known

sub ended {
    my ($self) = @_;

    # the server may have ended it as early as that

    my $lost = $self->{alive};

    $since{ $self->{client} } //= $lost if $self->{client};

    for my $w (values %{ $self->{wait} }) {
        my $ch = $self->{channels}{ $w->{channel} || '' } or next;

        if ($w->{op} eq 'leave') {
            $ch->{unsure}{$_} = 1 for keys %{ $ch->{own} };

        } elsif (exists $w->{key}) {
            $ch->{unsure}{ $w->{key} } = 1;
        }
    }

    for my $ch (values %{ $self->{channels} }) {
        $ch->{lost} = $lost if !defined $ch->{lost};
        $ch->{joined} = 0;
        delete $ch->{list};
    }

    $self->{wait}  = {};
    $self->{state} = 'none';
}


# Nobody comes back: it leaves all

sub forget {
    my ($self) = @_;

    $self->{channels} = {};
    delete $self->{resume};
}


sub cut {
    my ($self) = @_;

    $self->SUPER::cut;
    $self->ended;
}


sub fin {
    my ($self) = @_;

    $self->disconnect;
    $self->ended;
}


sub finish {
    my ($self) = @_;

    $self->send_close(1000);
    $self->fin;
    $meant{ $self->{client} } = 1 if $self->{client};
    $self->forget;
}


sub mute {
    my ($self) = @_;

    $self->{state} = 'mute';
    $since{ $self->{client} } //= $self->{alive};
}


sub alive { $_[0]{alive} = $_[1] }


# What can be of others

sub meant { $meant{ $_[0] } || $meant{"$_[0] $_[1]"} }


sub away {
    my ($client) = @_;

    my $now = defined $since{$client} ? time - $since{$client} : 0;
    my $max = $away{$client} || 0;

    return $now > $max ? $now : $max;
}


sub back {
    my ($client) = @_;

    $away{$client} = away($client);
    delete $since{$client};
}


# Commands

sub command {
    my ($self, $op, $channel, $args, %more) = @_;

    my $id = ++$self->{id};

    $self->{wait}{$id} = { op => $op, channel => $channel, %more };
    $self->send_text(Fanout::JSON::encode({
        id => $id, op => $op, channel => $channel, %$args
    }));
}


sub keyed { length $_[0] ? (key => $_[0]) : () }


sub join {
    my ($self, $channel, %o) = @_;

    my $ch = $self->{channels}{$channel} ||= { own => {}, unsure => {} };

    $ch->{leaving} = 0;

    if (!exists $o{data}) {
        $self->command('join', $channel, {});
        return;
    }

    $self->command('join', $channel,
                   { presence => $o{data}, keyed($o{key}) },
                   key => $o{key}, data => $o{data});
}


sub update {
    my ($self, $channel, $key, $data, %more) = @_;

    $self->command('presence', $channel,
                   { data => $data, keyed($key), %more },
                   key => $key, data => $data, %more);
}


sub merge {
    my ($self, $channel, $key, $data) = @_;

    $self->command('presence', $channel,
                   { data => $data, merge => Fanout::JSON::true, keyed($key) },
                   key => $key, merge => $data);
}


sub state {
    my ($self, $channel, $key, $state) = @_;

    $self->command('presence', $channel, { state => $state, keyed($key) },
                   key => $key, state => $state);
}


sub withdraw {
    my ($self, $channel, $key) = @_;

    $meant{"$self->{client} $channel"} = 1;
    $self->command('presence', $channel, { data => undef, keyed($key) },
                   key => $key, gone => 1);
}


sub leave {
    my ($self, $channel) = @_;

    $meant{"$self->{client} $channel"} = 1;
    $self->{channels}{$channel}{leaving} = 1;
    $self->command('leave', $channel, {});
}


sub read {
    my ($self, $channel) = @_;

    $self->command('members', $channel, {});
}


sub joined { ($_[0]{channels}{ $_[1] } || {})->{joined} }

# a join is acknowledged or on its way, and no leave was sent after it

sub knows {
    my ($self, $channel) = @_;

    my $ch = $self->{channels}{$channel} or return 0;

    return 0 if $ch->{leaving};
    return $ch->{joined} || grep { $_->{op} eq 'join'
                                   && $_->{channel} eq $channel }
                                 values %{ $self->{wait} };
}


sub own {
    my ($self, $channel) = @_;

    my $ch = $self->{channels}{$channel};

    return {} if !$ch || !$ch->{joined};

    return { map { ("$self->{client}/$_" => plain($ch->{own}{$_})) }
             keys %{ $ch->{own} } };
}


sub list {
    my ($self, $channel) = @_;

    my $ch = $self->{channels}{$channel} or return undef;

    return undef if !$ch->{list} || $ch->{stale};
    return $ch->{list};
}


# A member as text: "{}" is no data

sub plain {
    my ($m) = @_;

    my $data = $m->{data};

    $data = undef if ref $data eq 'HASH' && !%$data;

    return Fanout::JSON::encode([ $data, $m->{state} || 'active' ]);
}


# What has come

sub pump {
    my ($self) = @_;

    return if $self->{state} eq 'none' || $self->{state} eq 'mute';

    my $before = time;

    $self->put('') if length $self->{out};

    for (1 .. 20) {
        $self->fill(0) or last;
    }

    if ($self->{state} eq 'opening') {
        $self->opening or return $self->over;
    }

    while (my $frame = $self->take_frame) {
        my $message = $self->accept_frame($frame);

        $self->text($message->{payload}) if $message;
    }

    $self->over if $self->eof || defined $self->{close_code};
    $self->{alive} = $before if $self->{state} ne 'none';
}


sub over {
    my ($self) = @_;

    return if !$self->eof && !defined $self->{close_code}
              && $self->{state} eq 'opening';

    $self->fault("closed by $self->{close_code}: $self->{close_reason}")
        if defined $self->{close_code} && $self->{close_code} != 1012
           && $self->{close_code} != 4409;

    $self->disconnect;
    $self->ended;
}


sub opening {
    my ($self) = @_;

    ${ $self->{buffer} } =~ s/^(.*?)\r\n\r\n//s or return 0;

    my $head = $1;

    if ($head !~ m{^HTTP/1.1 101 }) {
        $self->fault("the handshake: $head");
        $self->{eof} = 1;
        return 0;
    }

    ($self->{worker}) = $head =~ /^X-Worker: (\d+)/mi;
    $self->{state} = 'greeted';

    return 1;
}


sub text {
    my ($self, $text) = @_;

    my $value = Fanout::JSON::decode($text);

    for (ref $value eq 'ARRAY' ? @$value : $value) {
        if ($_->{welcome})       { $self->welcomed($_->{welcome}) }
        elsif (defined $_->{id}) { $self->replied($_) }
        elsif ($_->{presence})   { $self->changed($_) }
        elsif ($_->{gap} || $_->{reset}) { $self->anew($_->{channel}) }
        elsif ($_->{closing})    { }
        else                     { $self->fault("what is it: $text") }
    }
}


sub welcomed {
    my ($self, $w) = @_;

    $self->{state}  = 'up';
    $self->{resume} = $w->{resume};

    if ($w->{resumed}) {
        $self->fault("resumed as $w->{client}")
            if $w->{client} ne $self->{client};
        $self->{resumed}++;
        back($w->{client});

        # of what it was in some remains, most of the time

        for my $name (keys %{ $self->{channels} }) {
            $self->join($name);
        }

        return;
    }

    $self->{client}   = $w->{client};
    $self->{channels} = {};
}


sub replied {
    my ($self, $f) = @_;

    my $w = $self->{wait}{ $f->{id} };

    if (!$w) {
        $self->fault("a reply to nothing: $f->{id}");
        return;
    }

    if ($f->{part}) {
        push @{ $w->{members} }, @{ $f->{part}{members} || [] };
        return;
    }

    delete $self->{wait}{ $f->{id} };

    my $ch = $self->{channels}{ $w->{channel} };

    if ($f->{error}) {
        my $code = $f->{error}{code};

        $self->fault("$w->{op} $w->{channel}: $code $f->{error}{message}")
            if $code ne 'not_found' || exists $w->{data};
        return;
    }

    push @{ $w->{members} }, @{ $f->{ok}{members} || [] };

    my $done = "reply_$w->{op}";
    $self->$done($w, $ch, $f->{ok});
}


sub reply_join {
    my ($self, $w, $ch, $ok) = @_;

    my $lost = delete $ch->{lost};
    my $late = defined $lost && time - $lost > $self->{linger} - 1;

    $ch->{joined} = 1;
    $self->snapshot($ch, $w, $ok);
    $self->reply_presence($w, $ch) if exists $w->{data};

    # what is not known is said again

    for my $key (keys %{ { %{ $ch->{own} }, %{ $ch->{unsure} } } }) {
        next if !$late && !$ch->{unsure}{$key};
        next if defined $w->{key} && $w->{key} eq $key && !$late;

        my $own = $ch->{own}{$key};

        $self->{again}++;
        $own ? $self->update($w->{channel}, $key, $own->{data} // {},
                             state => $own->{state} || 'active')
             : $self->withdraw($w->{channel}, $key);
    }
}


sub snapshot {
    my ($self, $ch, $w, $ok) = @_;

    my %list;

    for (@{ $w->{members} }) {
        my $id = "$_->{client}/" . ($_->{key} // '');

        $self->fault("$w->{op}: $id is there twice") if $list{$id};
        $list{$id} = plain($_);
    }

    $ch->{offset} = $ok->{offset};
    $ch->{epoch}  = $ok->{epoch};
    $ch->{list}   = \%list;
    $ch->{stale}  = 0;
}


sub reply_presence {
    my ($self, $w, $ch) = @_;

    my $key = $w->{key};

    delete $ch->{unsure}{$key};

    if ($w->{gone}) {
        delete $ch->{own}{$key};
        return;
    }

    my $m = $ch->{own}{$key} ||= { state => 'active' };

    $m->{state} = $w->{state} if $w->{state};
    $m->{data}  = $w->{data} if exists $w->{data};

    if ($w->{merge}) {
        my %data = %{ $m->{data} || {} };

        for (keys %{ $w->{merge} }) {
            defined $w->{merge}{$_} ? $data{$_} = $w->{merge}{$_}
                                    : delete $data{$_};
        }

        $m->{data} = \%data;
    }
}


# A join that was sent right behind it is still to be answered.

sub reply_leave {
    my ($self, $w, $ch) = @_;

    if ($ch->{leaving}) {
        delete $self->{channels}{ $w->{channel} };
        return;
    }

    delete @$ch{ grep { $_ ne 'leaving' } keys %$ch };
    @$ch{qw( own unsure joined )} = ({}, {}, 0);
}


# The reply to the one that counts after a gap; else a look at what all have

sub reply_members {
    my ($self, $w, $ch, $ok) = @_;

    return if !$ch || !$ch->{joined};

    if ($w->{anew}) {
        return if $ch->{stale} != $w->{anew};

        my @later = @{ delete $ch->{later} || [] };

        $self->snapshot($ch, $w, $ok);
        $self->changed($_) for grep { $_->{offset} > $ok->{offset} } @later;
        return;
    }

    return if $ch->{stale} || !$ch->{list} || $ok->{offset} != $ch->{offset};

    my %list = map { ("$_->{client}/" . ($_->{key} // '') => plain($_)) }
               @{ $w->{members} };
    my ($got, $have) = map { Fanout::JSON::encode($_) } \%list, $ch->{list};

    $self->{looks}++;
    $self->fault("members $w->{channel} at $ok->{offset}: $got, have $have")
        if $got ne $have;
}


sub anew {
    my ($self, $channel) = @_;

    my $ch = $self->{channels}{$channel} or return;

    $ch->{stale} = ++$self->{gaps};
    $ch->{later} = [];
    $self->command('members', $channel, {}, anew => $ch->{stale});
}


sub changed {
    my ($self, $f) = @_;

    my $ch = $self->{channels}{ $f->{channel} };

    if (!$ch || !$ch->{list}) {
        $self->fault("a change of $f->{channel}, which is not joined");
        return;
    }

    if ($ch->{stale}) {
        push @{ $ch->{later} }, $f;
        return;
    }

    if ($f->{offset} <= $ch->{offset}) {
        $self->fault("offset $f->{offset} of $f->{channel}"
                     . " after $ch->{offset}") if !$ch->{gapped};
        return;
    }

    $ch->{offset} = $f->{offset};
    $self->{changes}++;

    my ($list, $p) = ($ch->{list}, $f->{presence});

    for my $m (@{ $p->{left} || [] }) {
        my $id = "$m->{client}/" . ($m->{key} // '');

        $self->fault("$f->{channel} at $f->{offset}: left, but was not"
                     . " there: $id") if !delete $list->{$id};
        $self->left($f, $m);
    }

    for my $kind (qw( joined updated )) {
        for my $m (@{ $p->{$kind} || [] }) {
            my $id = "$m->{client}/" . ($m->{key} // '');

            $self->fault("$f->{channel} at $f->{offset}: $kind, but "
                         . ($list->{$id} ? 'was' : 'was not')
                         . " there: $id")
                if ($kind eq 'joined') == !!$list->{$id};
            $list->{$id} = plain($m);
        }
    }
}


# For a reason that there is: who was told to go, or was away for the linger

sub left {
    my ($self, $f, $m) = @_;

    my $reason = $m->{reason} // 'none';
    my $away   = away($m->{client});

    return if $reason eq 'intentional' && meant($m->{client}, $f->{channel});
    return if $reason eq 'network' && $away >= $self->{linger};

    $self->fault(sprintf "%s at %s: %s/%s left: %s, away for %.3f s",
                 $f->{channel}, $f->{offset}, $m->{client}, $m->{key} // '',
                 $reason, $away);
}


1;
