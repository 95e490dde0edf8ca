package Fanout::Table;

=head1 NAME

Fanout::Table - a client that works on a table of records, also offline

=head1 SYNOPSIS

    my $ann = Fanout::Table->new($nginx, 'table:1', 'ann');

    $ann->set('r1', { price => 3 });        # sent at once, or when it is back
    $ann->pump while !$ann->idle;

    $ann->records;                          # as the server says
    $ann->shown('r1');                      # with what is not yet confirmed
    $ann->acked; $ann->conflicts;           # what came of the changes

    $ann->cut;                              # the next pump comes back,
    $ann->away;                             # or only back()
    $ann->back;

=head1 DESCRIPTION

What an application does with the native protocol: it applies the entries of a
channel to the records that its join got, by the rule that an entry whose
version is not above that of the record changes nothing; makes each change with
the version that it has seen as the base, and a key; keeps it until there is an
answer; and sends what has none again, as one array, after a cut, or when it is
told to come later.

What a server that tells the truth can't say is a fault: an offset that goes
back, an error that no such change can have.

=over

=item new(nginx, channel, user, %o)

Options: C<mode> of changes ("merge"), C<path> ("/rt"), and those of a client.

=item set(record, {field => value}, %o), delete(record)

C<%o>: further members of the command, such as C<mode>, C<unset>, C<append>.

=item acked, conflicts

Lists of changes, each with C<ok> or C<error> beside what was asked.

=item idle

It is connected, has joined, and has no change without an answer.

=item state

A text that says what of this does not hold.

=back

=cut

use strict;
use warnings;

use Fanout::Elapsed qw( time );
use Fanout::Nginx ();

my $keys = 0;


sub new {
    my ($class, $nginx, $channel, $user, %o) = @_;

    my $self = bless {
        nginx => $nginx, channel => $channel, user => $user,
        mode => delete $o{mode} // 'merge', path => delete $o{path} // '/rt',
        records => {}, gone => {}, queue => [], wait => {}, later => [],
        acked => [], conflicts => [], faults => [], joins => 0, recovered => 0,
    }, $class;

    $self->open(%o);

    return $self;
}


sub records   { $_[0]{records} }
sub acked     { @{ $_[0]{acked} } }
sub conflicts { @{ $_[0]{conflicts} } }
sub faults    { @{ $_[0]{faults} } }
sub up        { !!$_[0]{wire} }
sub idle      { $_[0]{wire} && $_[0]{joined} && !@{ $_[0]{queue} } }

sub state {
    my ($self) = @_;

    return Fanout::JSON::encode({
        user  => $self->{user}, up => $self->up ? 1 : 0,
        joined => $self->{joined}, joins => $self->{joins},
        queue => $self->{queue}, wait => $self->{wait},
        later => $self->{later},
    });
}


sub fault {
    my ($self, $text) = @_;

    push @{ $self->{faults} }, "$self->{user}: $text";
}


# The version that it has seen: 0 if it knows of no such record.

sub version {
    my ($self, $id) = @_;

    return $self->{records}{$id} ? $self->{records}{$id}{version} : 0;
}


sub shown {
    my ($self, $id) = @_;

    my %fields = %{ ($self->{records}{$id} || {})->{fields} || {} };

    for my $change (grep { $_->{record} eq $id } @{ $self->{queue} }) {
        %fields = (%fields, %{ $change->{set} || {} });
        delete @fields{ @{ $change->{unset} || [] } };
        %fields = () if $change->{op} eq 'delete';
    }

    return \%fields;
}


# connections

sub open {
    my ($self, %o) = @_;

    my $wire = $self->{nginx}->client('Fanout::Table::Wire', 'connect',
        path => "$self->{path}?user=$self->{user}", %o,
        $self->{resume} ? (resume => $self->{resume}) : ());

    @$self{qw( wire resume client wait later joined )} =
        ($wire, $wire->resume, $wire->client, {}, [], 0);
    $wire->{table} = $self;

    $self->join;
    $self->send(@{ $self->{queue} });
}


sub join {
    my ($self) = @_;

    my $id = $self->{wire}->send_cmd('join',
        channel => $self->{channel}, want => ['records'],
        $self->{epoch} ? (since => { epoch  => $self->{epoch},
                                     offset => $self->{offset} }) : ());

    $self->{wait}{$id} = { op => 'join' };
}


sub cut {
    my ($self) = @_;

    $self->{wire}->cut if $self->{wire};
    delete $self->{wire};
    $self->{joined} = 0;
}


sub away {
    my ($self) = @_;

    $self->cut;
    $self->{away} = 1;
}


sub back {
    my ($self) = @_;

    delete $self->{away};

    Fanout::Nginx::wait_for(sub { eval { $self->open; 1 } }, 20)
        or $self->fault("can't come back: $@");
}


# Takes what has come; comes back if the connection has ended

sub pump {
    my ($self) = @_;

    return if $self->{away};

    my $wire = $self->{wire} or return $self->back;

    $wire->read_until(sub { 0 }, 0);

    if ($wire->eof || defined $wire->close_code) {
        $self->cut;
        return $self->back;
    }

    my ($due, $later) = ([], []);

    push @{ $_->[0] <= time ? $due : $later }, $_ for @{ $self->{later} };
    $self->{later} = $later;
    $self->send(map { $_->[1] } @$due);
}


# changes

sub set {
    my ($self, $id, $set, %o) = @_;

    return $self->change({
        op => 'set', record => $id, base => $self->version($id),
        mode => $self->{mode}, set => $set, %o,
    });
}


sub delete {
    my ($self, $id) = @_;

    return $self->change({ op => 'delete', record => $id,
                           base => $self->version($id) });
}


sub change {
    my ($self, $change) = @_;

    delete $change->{base} if ($change->{mode} // '') eq 'overwrite';
    $change->{key} = "$self->{user}-" . ++$keys;

    push @{ $self->{queue} }, $change;
    $self->send($change) if $self->{wire};

    return $change->{key};
}


# Several are one array.

sub send {
    my ($self, @changes) = @_;

    my $wire = $self->{wire};

    while (my @some = splice @changes, 0, 50) {
        my @commands;

        for my $change (@some) {
            my $id = ++$wire->{id};

            $self->{wait}{$id} = $change;
            push @commands, { id => $id, channel => $self->{channel},
                              %$change };
        }

        $wire->send_json(@commands > 1 ? \@commands : $commands[0]);
    }
}


# what comes

sub replied {
    my ($self, $id, $r) = @_;

    my $change = delete $self->{wait}{$id} or return;

    return $self->entered($r) if $change->{op} eq 'join';

    my $code = $r->{error} ? $r->{error}{code} : '';

    if ($code eq 'rate_limited' || $code eq 'busy') {
        push @{ $self->{later} },
            [ time + ($r->{error}{data}{retry_after} // 1000) / 1000,
              $change ];
        return;
    }

    @{ $self->{queue} } = grep { $_ != $change } @{ $self->{queue} };

    if ($r->{ok}) {
        push @{ $self->{acked} }, { %$change, ok => $r->{ok} };

    } elsif ($code eq 'conflict'
             || ($code eq 'not_found' && $change->{op} eq 'delete'))
    {
        push @{ $self->{conflicts} }, { %$change, error => $r->{error} };

    } else {
        $self->fault("$change->{op} $change->{record}: $code "
                     . $r->{error}{message});
    }
}


sub entered {
    my ($self, $r) = @_;

    if ($r->{error}) {
        return $self->fault("join: $r->{error}{code} $r->{error}{message}");
    }

    my $ok    = $r->{ok};
    my @parts = (@{ $r->{part} || [] }, $ok);

    $self->{joins}++;

    if ($ok->{recovered}) {
        $self->{recovered}++;
        $self->entry($_) for map { @{ $_->{messages} || [] } } @parts;

    } else {
        $self->{gone} = {};
        $self->{records} = { map { %{ $_->{records} || {} } } @parts };
    }

    @$self{qw( epoch offset joined )} = (@$ok{qw( epoch offset )}, 1);
}


sub handle {
    my ($self, $f) = @_;

    return if $f->{closing} || ($f->{channel} // '') ne $self->{channel};

    if ($f->{gap} || $f->{reset}) {
        delete $self->{epoch};
        $self->{joined} = 0;
        return $self->join;
    }

    # of the subscription before the last join

    return if !$self->{joined};

    $self->fault("$f->{offset} after $self->{offset}")
        if $f->{offset} <= $self->{offset};
    $self->{offset} = $f->{offset};

    $self->entry($f);
}


sub entry {
    my ($self, $e) = @_;

    defined(my $id = $e->{record}) or return;

    my $r = $self->{records}{$id};

    return if $e->{version} <= ($r ? $r->{version} : $self->{gone}{$id} // 0);

    if ($e->{deleted}) {
        delete $self->{records}{$id};
        $self->{gone}{$id} = $e->{version};
        return;
    }

    my %fields = $r && !$e->{created} ? %{ $r->{fields} } : ();

    %fields = (%fields, %{ $e->{set} || {} });
    delete @fields{ @{ $e->{unset} || [] } };

    for my $f (keys %{ $e->{append} || {} }) {
        $fields{$f} = [ @{ $fields{$f} || [] }, @{ $e->{append}{$f} } ];
    }

    $self->{records}{$id} = { version => $e->{version}, fields => \%fields };
}


package Fanout::Table::Wire;

use Fanout::Native;

our @ISA;

BEGIN { @ISA = qw( Fanout::Native ) }

my %decoded;


# What many are told in the same bytes is decoded once

sub sort_in {
    my ($self, $text) = @_;

    my $table = $self->{table} or return $self->SUPER::sort_in($text);

    %decoded = () if keys %decoded > 2000;

    my $value = $decoded{$text} //= Fanout::JSON::decode($text);

    for my $f (ref $value eq 'ARRAY' ? @$value : $value) {
        my $id = $f->{id};

        if (!defined $id) {
            $table->handle($f);

        } elsif (exists $f->{part}) {
            push @{ $self->{parts}{$id} }, $f->{part};

        } else {
            my $parts = delete $self->{parts}{$id};

            $table->replied($id, $parts ? { %$f, part => $parts } : $f);
        }
    }
}


1;
