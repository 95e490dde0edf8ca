package Fanout::Client;

=head1 NAME

Fanout::Client - one client, over a WebSocket, server-sent events or polls

=head1 SYNOPSIS

    for my $transport (Fanout::Client->transports) {
        my $ann = Fanout::Client->open($nginx, $transport, '/rt',
                                       user => 'ann', channels => [ 'a' ]);

        $ann->ok(publish => channel => 'a', data => 1);
        is($ann->next_entry->{data}, 1);

        $ann->cut;
        $ann->come_back;
        ok($ann->joined('a')->{recovered});
    }

=head1 DESCRIPTION

What a client of each transport does by the documentation, behind the same
methods, so that the same assertions can be made of all of them.

=over

=item transports

The names: websocket, sse, poll.

=item open(nginx, transport, path, %o)

Connects and joins. Options: C<channels>; C<joins>, objects as the command
takes them, instead; C<history>; C<session>, for a poll that is a client;
C<user>, which becomes an argument of the URL; C<query>, more of these;
C<worker>, a pid; C<since>, a
hash of positions by channel, or what C<place> gave, to begin with; C<resume>.
Dies if that is refused.

=item joined(channel), client, token, resumed

What the join was answered; of the welcome. (A poll is told nothing of a
channel that it continues: this stands for C<recovered>.)

=item lists

What it was told of all members, for each channel as an array of C<ok>, in the
order in which they came.

=item members(channel)

Who is there, by what was told so far. C<< {presences} >> has the changes,
C<< {reasons} >> those of leaves, C<< {summary} >> the numbers by channel.

=item next_message(timeout?)

The next entry that is no change of members.

=item next_entry(timeout?), entries(n, timeout?)

The next entry, gap or reset, in the order they came; undef if there is none in
time. The data of so many, as one text.

=item cmd(op, %members), ok(op, %members)

A command: over the WebSocket, or by POST. As in Fanout::Native.

=item cut, come_back(%o)

The connection breaks. Back with the token and from the place where it was;
with C<worker> on that one.

=item closing(timeout?)

The code that the server ended it with; waits for that.

=item place

What C<since> takes.

=item worker, eof

=back

=cut

use strict;
use warnings;

use POSIX qw( ceil );
use Fanout::Elapsed qw( time );
use Fanout::HTTP;
use Fanout::JSON;
use Fanout::Native;
use Fanout::Stream;

my %classes = (
    websocket => 'Fanout::Client::WebSocket',
    sse       => 'Fanout::Client::Events',
    poll      => 'Fanout::Client::Poll',
);


sub transports { qw( websocket sse poll ) }


sub open {
    my ($class, $nginx, $transport, $path, %o) = @_;

    my $self = bless {
        nginx    => $nginx,
        path     => $path,
        channels => $o{channels} || [ map { $_->{channel} }
                                          @{ $o{joins} || [] } ],
        o        => \%o,
        queue    => [],
        joined   => {},
        presences => [],
        token    => $o{resume},
    }, $classes{$transport} || die "no transport $transport\n";

    $self->{place} = $o{since};
    $self->start(worker => $o{worker}, begin => 1);

    return $self;
}


sub joined  { $_[0]{joined}{ $_[1] } }
sub client  { $_[0]{welcome}{client} }
sub token   { $_[0]{welcome}{resume} }
sub resumed { $_[0]{welcome}{resumed} }
sub place   { $_[0]{place} }


sub query {
    my ($self, @more) = @_;

    my $o = $self->{o};

    return join '&', @more, (defined $o->{user} ? "user=$o->{user}" : ()),
                     ($o->{query} ? $o->{query} : ());
}


sub channel_query {
    my ($self, $begin) = @_;

    my $joins = $self->{o}{joins};

    return ($joins ? (map { 'join=' . Fanout::Stream::escape(
                                Fanout::JSON::encode($_)) } @$joins)
                   : (map { 'channel=' . Fanout::Stream::escape($_) }
                          @{ $self->{channels} })),
           ($self->{o}{session} && $self->isa('Fanout::Client::Poll')
            ? 'session=1' : ()),
           ($begin && $self->{o}{history}
            ? "history=$self->{o}{history}" : ());
}


# members, by lists and by changes of these

sub listed {
    my ($self, $ok) = @_;

    my $channel = $ok->{channel};

    push @{ $self->{lists}{$channel} }, $ok if $ok->{members} || $ok->{summary};

    $self->{summary}{$channel} = $ok->{summary}{members} if $ok->{summary};

    return if !$ok->{members};

    $self->{members}{$channel} = {
        map { ($_->{client} . '/' . ($_->{key} // '')) => $_ }
            @{ $ok->{members} }
    };
}


sub changed {
    my ($self, $entry) = @_;

    my $p = $entry->{presence} or return;
    my $members = $self->{members}{ $entry->{channel} } ||= {};

    push @{ $self->{presences} }, $p;

    $self->{summary}{ $entry->{channel} } = $p->{summary}{members}
        if $p->{summary};

    $members->{ $_->{client} . '/' . ($_->{key} // '') } = $_
        for map { @{ $p->{$_} || [] } } qw( joined updated );

    for (@{ $p->{left} || [] }) {
        delete $members->{ $_->{client} . '/' . ($_->{key} // '') };
        push @{ $self->{reasons} }, $_->{reason};
    }
}


# what was lost of changes is read again

sub next_entry {
    my ($self, $timeout) = @_;

    my $entry = $self->take($timeout) or return undef;

    $self->changed($entry);

    if ($entry->{gap} && ($entry->{gap}{of} || '') eq 'presence') {
        $self->listed($self->ok(members => channel => $entry->{channel}));
    }

    return $entry;
}


sub next_message {
    my ($self, $timeout) = @_;

    while (my $entry = $self->next_entry($timeout)) {
        return $entry if !$entry->{presence} && !$entry->{gap}{of}
                         && !$entry->{left};
    }

    return undef;
}


sub lists { $_[0]{lists} }

sub members {
    my ($self, $channel) = @_;

    return values %{ $self->{members}{$channel} || {} };
}


sub entries {
    my ($self, $n, $timeout) = @_;

    return join ' ', map {
        my $entry = $self->next_entry($timeout);
        $entry ? $entry->{data} // Fanout::JSON::encode($entry) : '-'
    } 1 .. $n;
}


# commands by POST; who has a client id is that client

sub cmd {
    my ($self, $op, %members) = @_;

    my %headers = ('Content-Type' => 'application/json');

    if ($self->{welcome}) {
        $headers{'Fanout-Client'} = $self->client;
        $headers{'Fanout-Resume'} = $self->token;
    }

    my $r = ($self->{post} ||= $self->{nginx}->http)->post(
        "$self->{path}?" . $self->query,
        Fanout::JSON::encode({ id => 1, op => $op, %members }),
        headers => \%headers);

    my @replies = ref $r->json eq 'ARRAY' ? @{ $r->json } : $r->json;
    my $last    = pop @replies;

    $last->{part} = [ map { $_->{part} } @replies ] if @replies;

    return $last;
}


sub ok {
    my ($self, $op, %members) = @_;

    my $reply = $self->cmd($op, %members);

    return $reply->{ok} if exists $reply->{ok};

    die "$op: " . Fanout::JSON::encode($reply->{error} || $reply) . "\n";
}


sub come_back {
    my ($self, %o) = @_;

    $self->{token} = $self->token if $self->{welcome};

    $self->start(%o);
}


package Fanout::Client::WebSocket;

use Fanout::Elapsed qw( time );

our @ISA = 'Fanout::Client';


sub start {
    my ($self, %o) = @_;

    my $nginx = $self->{nginx};
    my %to;

    # by one handshake only: a token is good for one

    if ($o{worker}) {
        $to{socket} = $nginx->on_worker($o{worker}, sub {
            my $socket = Fanout::Socket->open(port => $nginx->port);
            Fanout::Nginx::wait_for(sub {
                Fanout::Nginx::server_inode($socket)
            }, 2);
            return $socket;
        });
    }

    my $ws = $self->{ws} = Fanout::Client::Native->connect(
        port => $nginx->port, path => "$self->{path}?" . $self->query, %to,
        (defined $self->{token} ? (resume => $self->{token}) : ()));

    die "no WebSocket: " . $ws->status . "\n" if !$ws->welcome;

    $self->{welcome} = $ws->welcome;
    $self->{queue}   = [];
    $self->{joined}  = {};

    my $history = $o{begin} && $self->{o}{history};

    for my $channel (@{ $self->{channels} }) {
        my $at     = $self->{place}{$channel};
        my ($join) = grep { $_->{channel} eq $channel }
                     @{ $self->{o}{joins} || [] };

        my %join   = %{ $join || {} };

        # who comes back has its member as it is

        delete $join{presence} if !$o{begin};

        my $reply = $ws->cmd(join => %join, channel => $channel,
                             ($at ? (since => $at) : ()),
                             ($history ? (history => $history) : ()));

        my $ok = $reply->{ok}
            or die Fanout::JSON::encode($reply->{error}) . "\n";

        $self->listed($ok);
        $self->{joined}{$channel} = $ok;
        $self->{place}{$channel}
            = { epoch => $ok->{epoch}, offset => $ok->{offset} };

        push @{ $self->{queue} }, map { { %$_, channel => $channel } }
            map { @{ $_->{messages} || [] } } @{ $reply->{part} || [] }, $ok;
    }
}


sub cmd    { my $self = shift; $self->{ws}->cmd(@_) }
sub cut    { $_[0]{ws}->cut }
sub eof    { $_[0]{ws}->eof }
sub worker { $_[0]{ws}->headers->{'x-worker'} }


sub take {
    my ($self, $timeout) = @_;

    return shift @{ $self->{queue} } if @{ $self->{queue} };

    my $entry = $self->{ws}->next_where(sub { defined $_[0]{channel} },
                                        $timeout) or return undef;

    my $at = $self->{place}{ $entry->{channel} };

    if ($entry->{reset}) {
        %$at = (epoch => $entry->{reset}{epoch}, offset => 0);

    } else {
        $at->{offset} = $entry->{gap} ? $entry->{gap}{to} : $entry->{offset}
            if $entry->{gap} || defined $entry->{offset};
    }

    return $entry;
}


sub closing {
    my ($self, $timeout) = @_;

    $self->{ws}->next_where(sub { 0 }, $timeout);

    return $self->{ws}->close_code;
}


package Fanout::Client::Native;

our @ISA = 'Fanout::Native';


sub open {
    my ($class, %o) = @_;

    return $o{socket} ? bless $o{socket}, $class : $class->SUPER::open(%o);
}


package Fanout::Client::Events;

use Fanout::Elapsed qw( time );

our @ISA = 'Fanout::Client';


sub start {
    my ($self, %o) = @_;

    $self->{queue} = [];

    my $s = $self->{stream} = Fanout::Stream->new(
        $self->{nginx}, $self->{path},
        query => $self->query($self->channel_query($o{begin})),
        ($o{worker} ? (worker => $o{worker}) : ()),
        (defined $self->{place} ? (since => $self->{place}) : ()),
        headers => { 'X-Requested-With' => 'Fanout::Client',
                     defined $self->{token}
                     ? ('Fanout-Resume' => $self->{token}) : () });

    $self->{welcome} = $s->welcome;
    $self->{joined}  = { map { $_ => $s->joined($_) }
                             @{ $self->{channels} } };
}


sub place  { $_[0]{stream}->last_id }
sub eof    { $_[0]{stream}->eof }
sub worker { $_[0]{stream}->response->{headers}{'x-worker'} }


sub cut {
    my ($self) = @_;

    $self->{place} = $self->place;
    $self->{stream}->cut;
}


sub take {
    my ($self, $timeout) = @_;

    my $end = time + (defined $timeout ? $timeout : 10);

    while (!@{ $self->{queue} }) {
        my $left = $end - time;
        my $push = $self->{stream}->next_push($left > 0 ? $left : 0)
            or return undef;

        for (ref $push eq 'ARRAY' ? @$push : $push) {
            if ($_->{closing}) {
                $self->{closing} = $_->{closing};
                return undef;
            }

            if ($_->{ok} || $_->{part}) {
                $self->listed($_->{ok} || $_->{part});

            } else {
                push @{ $self->{queue} }, $_;
            }
        }
    }

    return shift @{ $self->{queue} };
}


# a browser is told by the text what a close code tells, but for a restart

sub closing {
    my ($self, $timeout) = @_;

    1 while !$self->{closing} && $self->next_entry($timeout);

    my $closing = $self->{closing} or return undef;

    return $closing->{status} || ($closing->{code} eq 'drain' ? 1012 : undef);
}


package Fanout::Client::Poll;

use POSIX qw( ceil );
use Fanout::Elapsed qw( time );

our @ISA = 'Fanout::Client';


sub start {
    my ($self, %o) = @_;

    $self->{http} = $self->{nginx}->http(
        $o{worker} ? (worker => $o{worker}) : ());

    my $placed = defined $self->{place};

    $self->{queue}  = [];
    $self->{joined} = {};
    delete $self->{worker};

    my $was = delete $self->{welcome};

    $self->ask(0, $o{begin});

    # nor that it is who it was

    $self->{welcome} ||= { %$was, resumed => Fanout::JSON::true } if $was;

    # what is continued is not told

    $self->{joined}{$_} ||= { recovered => Fanout::JSON::true }
        for $placed ? @{ $self->{channels} } : ();
}


sub ask {
    my ($self, $timeout, $begin) = @_;

    my %headers = ('X-Requested-With' => 'Fanout::Client');

    $headers{'Fanout-Resume'} = $self->{welcome} ? $self->token
                                                 : $self->{token}
        if $self->{welcome} || defined $self->{token};

    my $query = $self->query('poll=1', $self->channel_query($begin),
                             'timeout=' . ceil($timeout),
                             defined $self->{place}
                             ? "since=$self->{place}" : ());

    my $r = $self->{http}->get("$self->{path}?$query", headers => \%headers,
                               timeout => 20 + $timeout);

    $self->{worker} = $r->{headers}{'x-worker'};

    if ($r->{status} != 200) {
        $self->{error} = $r->json->{error};
        die "poll: $r->{status}: $r->{body}\n";
    }

    $self->{place} = $r->{headers}{'fanout-position'};

    for my $object (map { ref $_ eq 'ARRAY' ? @$_ : $_ } @{ $r->json }) {
        $self->listed($object->{ok}) if $object->{ok};

        if ($object->{ok} && $object->{ok}{members}) {
            # of the members

        } elsif ($object->{welcome}) {
            $self->{welcome} = $object->{welcome};

        } elsif ($object->{ok}) {
            $self->{joined}{ $object->{ok}{channel} } = $object->{ok};

        } elsif ($object->{closing}) {
            $self->{closing} = $object->{closing};

        } else {
            push @{ $self->{queue} }, $object;
        }
    }
}


sub eof    { $_[0]{http}->eof }
sub worker { $_[0]{worker} }
sub cut    { $_[0]{http}->socket->cut if $_[0]{http}->socket }


sub take {
    my ($self, $timeout) = @_;

    $timeout = 10 if !defined $timeout;

    my $end = time + $timeout;

    while (!@{ $self->{queue} }) {
        my $left = $end - time;
        return undef if $left < 0;
        $self->ask($left);
    }

    return shift @{ $self->{queue} };
}

1;
